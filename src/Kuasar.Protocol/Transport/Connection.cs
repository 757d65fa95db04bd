using System.IO.Pipelines;
using System.Net.Sockets;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol;

/// <summary>
/// One byte stream between two peers, as ttrpc sees it. <see cref="TtrpcClient"/> and <see cref="TtrpcServer"/> own the
/// connections they are given and dispose them.
/// </summary>
/// <remarks>Derive from it for transports of your own; <see cref="FromSocket"/>, <see cref="FromStream"/> and <see cref="FromPipe"/> cover most.</remarks>
public abstract class Connection : IAsyncDisposable
{
    /// <summary>The bytes. Read by one loop and written by one loop of the owner.</summary>
    public abstract IDuplexPipe Transport { get; }

    /// <summary>Who connected, as the kernel says; null where the transport does not tell.</summary>
    public virtual PeerCredentials? Peer => null;

    /// <summary>
    /// The address of our end, as it was bound or connected to (a socket path, or <c>@name</c>); null when there is none. Lets
    /// one server tell its instances apart.
    /// </summary>
    public virtual string? LocalAddress => null;

    /// <summary>Anything the owner wants to keep with the connection. Not touched by the library.</summary>
    public object? Tag { get; set; }

    /// <summary>
    /// Ends the connection at once, bytes under way included: reads and writes in progress return or throw. Never blocks and
    /// never throws; any thread, any number of times. <see cref="DisposeAsync"/> is still due.
    /// </summary>
    public abstract void Abort();

    /// <summary>The peer has broken the protocol, and disposing follows. For connections that cannot tell it by that.</summary>
    internal virtual void GiveUp()
    {
    }

    /// <summary>
    /// Closes the connection and frees it. Bytes already given to the transport still reach the peer; reads and writes in
    /// progress at our end return or throw. Idempotent.
    /// </summary>
    public abstract ValueTask DisposeAsync();

    /// <summary>A connection over a connected stream socket (unix, vsock, TCP), which it owns.</summary>
    /// <param name="socket">
    /// Connected. Unix sockets also give <see cref="Peer"/>. One that was never used asynchronously is served faster.
    /// </param>
    /// <param name="localAddress">What <see cref="LocalAddress"/> says.</param>
    public static Connection FromSocket(Socket socket, string? localAddress = null)
    {
        ArgumentNullException.ThrowIfNull(socket);
        return Create(socket, PeerCredentials.Of(socket), localAddress);
    }

    /// <summary>A connection that another process has accepted and relays: the socket's other end is that process, not the peer.</summary>
    /// <param name="socket">Connected. One that was never used asynchronously is served faster.</param>
    /// <param name="peer">Who connected there; what <see cref="Peer"/> says.</param>
    /// <param name="localAddress">What <see cref="LocalAddress"/> says.</param>
    public static Connection FromRelayedSocket(Socket socket, PeerCredentials peer, string? localAddress = null)
    {
        ArgumentNullException.ThrowIfNull(socket);
        return Create(socket, peer, localAddress);
    }

    private static Connection Create(Socket socket, PeerCredentials? peer, string? localAddress) =>
        (Connection?)SocketConnection.TryCreate(socket, peer, localAddress)
            ?? new StreamConnection(new NetworkStream(socket, ownsSocket: true), peer, localAddress);

    /// <summary>A connection over any duplex stream, which it owns. Its Dispose must end reads and writes in progress.</summary>
    public static Connection FromStream(Stream stream, string? localAddress = null)
    {
        ArgumentNullException.ThrowIfNull(stream);
        return new StreamConnection(stream, peer: null, localAddress);
    }

    /// <summary>A connection over a duplex pipe, such as Kestrel's, whose two halves it owns and completes.</summary>
    /// <remarks>
    /// Its end completes <see cref="IDuplexPipe.Output"/> and stops reading <see cref="IDuplexPipe.Input"/>; whatever is behind
    /// the pipe must end on that.
    /// </remarks>
    public static Connection FromPipe(IDuplexPipe pipe, string? localAddress = null)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        return new Transport.DuplexPipeConnection(pipe, localAddress);
    }
}
