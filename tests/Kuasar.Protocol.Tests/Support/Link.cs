using System.Net.Sockets;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>What carries the bytes: every fact of the protocol holds over both paths of the code.</summary>
public enum Over
{
    /// <summary>Memory, by System.IO.Pipelines; the code that any Stream takes.</summary>
    Pipes,

    /// <summary>A unix socket, read and written without .NET's event loop.</summary>
    Sockets,
}

internal static class Link
{
    private static readonly Lock s_lock = new();
    private static readonly Socket s_listener = Listen();

    /// <summary>Two ends; <paramref name="raw"/> names the one a <see cref="RawPeer"/> drives, which goes through .NET.</summary>
    public static (Connection Client, Connection Server) Create(Over over, bool rawClient, bool rawServer)
    {
        if (over == Over.Pipes)
        {
            return ConnectionPair.Create("/test");
        }
        var (client, server) = Sockets();
        return (Connection(client, rawClient, null), Connection(server, rawServer, "/test"));
    }

    public static (Socket Client, Socket Server) Sockets()
    {
        lock (s_lock)
        {
            var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            client.Connect(s_listener.LocalEndPoint!);
            return (client, s_listener.Accept());
        }
    }

    private static Connection Connection(Socket socket, bool raw, string? address) => raw
        ? Protocol.Connection.FromStream(new NetworkStream(socket, ownsSocket: true), address)
        : Protocol.Connection.FromSocket(socket, address);

    private static Socket Listen()
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint($"\0kuasar-link-{Guid.NewGuid():N}"));
        listener.Listen(512);
        return listener;
    }
}
