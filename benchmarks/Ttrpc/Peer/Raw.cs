using System.Net.Sockets;
using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Peer;

/// <summary>
/// Ping-pong of the bytes that an echo would be, not looked at: what .NET's sockets leave to win. A client begins with the two
/// lengths, so that no end parses.
/// </summary>
internal static class Raw
{
    internal static async Task ServeAsync(string socket, Func<Socket, Task> answer)
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(socket));
        listener.Listen();
        // Not asynchronously: that would make the accepted socket's calls go another way than those of a bare socket.
        // One connection is all that a server of these gets.
        new Thread(() => answer(listener.Accept())) { IsBackground = true }.Start();
        await Ready.UntilStdinEndsAsync();
    }

    internal static Socket Connect(string socket, byte[] request, byte[] response)
    {
        var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        connection.Connect(new UnixDomainSocketEndPoint(socket));
        connection.Send(BitConverter.GetBytes(request.Length));
        connection.Send(BitConverter.GetBytes(response.Length));
        return connection;
    }

    internal static (byte[] Request, byte[] Response) Accept(Socket connection)
    {
        var lengths = new byte[8];
        Receive(connection, lengths);
        return (new byte[BitConverter.ToInt32(lengths)], new byte[BitConverter.ToInt32(lengths, 4)]);
    }

    internal static bool Receive(Socket connection, byte[] buffer)
    {
        for (var have = 0; have < buffer.Length;)
        {
            var count = connection.Receive(buffer, have, buffer.Length - have, SocketFlags.None);
            if (count == 0)
            {
                return false;
            }
            have += count;
        }
        return true;
    }
}
