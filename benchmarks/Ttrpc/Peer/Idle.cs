using System.Net.Sockets;
using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Peer;

internal static class Idle
{
    /// <summary>Each connection has one echo answered first: a server may keep what it needed for that.</summary>
    internal static async Task HoldAsync(string socket, int count)
    {
        var request = EchoFrames.Request(64);
        var response = new byte[EchoFrames.Response(64).Length];
        var connections = new Socket[count];
        for (var i = 0; i < count; i++)
        {
            var connection = connections[i] = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            connection.Connect(new UnixDomainSocketEndPoint(socket));
            connection.Send(request);
            if (!Raw.Receive(connection, response))
            {
                throw new IOException($"connection {i} was closed");
            }
        }
        await Ready.UntilStdinEndsAsync();
        foreach (var connection in connections)
        {
            connection.Dispose();
        }
    }
}
