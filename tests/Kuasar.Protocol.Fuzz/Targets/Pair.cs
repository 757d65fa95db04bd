using System.Net.Sockets;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>Both ends of a connection, in memory or over a socket.</summary>
internal static class Pair
{
    // Four bits of the plan, so that one of 16 inputs takes the way that is many times slower.
    private const byte ModeBits = 0xC0, CutsBits = 0x03;

    /// <summary>Of <see cref="Plan.Mode"/>, with <see cref="Plan.Cuts"/> a multiple of four.</summary>
    internal const byte BySocket = 0x40;

    private static readonly UnixDomainSocketEndPoint Address = new($"\0kuasar-fuzz-{Environment.ProcessId}");
    private static readonly Lazy<Socket> Listener = new(Listen);

    internal static async ValueTask<(Connection Client, Connection Server)> CreateAsync(Plan plan)
    {
        if ((plan.Mode & ModeBits) != BySocket || (plan.Cuts & CutsBits) != 0)
        {
            return ConnectionPair.Create();
        }
        var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        var listener = Listener.Value;
        await client.ConnectAsync(Address);
        return (Connection.FromSocket(client), Connection.FromSocket(await listener.AcceptAsync()));
    }

    private static Socket Listen()
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(Address);
        listener.Listen();
        return listener;
    }
}
