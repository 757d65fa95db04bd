using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Kuasar.Vmm.Agent.Tests.Support;

/// <summary>
/// The hypervisor's side of a hybrid vsock socket, as vhost-device-vsock was seen to behave: OK and a number for a port on which somebody
/// listens, an end without a word for another, a reset while no driver is there; what comes with the CONNECT in one packet is dropped.
/// </summary>
internal sealed class HybridSocket : IAsyncDisposable
{
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Dictionary<uint, Func<Socket, Task>> _ports = [];
    private readonly List<Task> _connections = [];
    private readonly List<Socket> _open = [];
    private readonly Task _accepting;

    public HybridSocket(string path)
    {
        Path = path;
        _listener.Bind(new UnixDomainSocketEndPoint(path));
        _listener.Listen(64);
        _accepting = AcceptAsync();
    }

    public string Path { get; }

    /// <summary>Whether the guest's driver is up.</summary>
    public bool DriverUp { get; set; } = true;

    /// <summary>Instead of <c>OK 7\n</c>.</summary>
    public string Reply { get; set; } = "OK 7\n";

    /// <summary>Bytes of the reply in one send; 0 is all.</summary>
    public int ReplyPart { get; set; }

    /// <summary>CONNECTs seen.</summary>
    public int Dials;

    public VsockEndPoint Port(uint port) => VsockEndPoint.Hybrid(Path, port);

    /// <summary>The guest listens; the function has the connection after OK, which is closed when it ends.</summary>
    public void Listen(uint port, Func<Socket, Task> serve) => _ports[port] = serve;

    public void StopListening(uint port) => _ports.Remove(port);

    /// <summary>The guest dials the host.</summary>
    public async Task<Socket> CallAsync(uint port)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint($"{Path}_{port}"));
        return socket;
    }

    /// <summary>All connections break, as when the guest is restored elsewhere.</summary>
    public void Cut()
    {
        lock (_open)
        {
            _open.ForEach(static socket => socket.Dispose());
            _open.Clear();
        }
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Dispose();
        await _accepting.Within();
        Cut();
        await Task.WhenAll(_connections).Within();
    }

    private async Task AcceptAsync()
    {
        while (true)
        {
            Socket socket;
            try
            {
                socket = await _listener.AcceptAsync();
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                return;
            }
            lock (_open)
            {
                _open.Add(socket);
            }
            _connections.Add(ServeAsync(socket));
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            using (socket)
            {
                if (!DriverUp)
                {
                    // Closing with bytes unread is a reset.
                    await socket.ReceiveAsync(new byte[1]);
                    return;
                }
                var request = new byte[64];
                var length = await socket.ReceiveAsync(request);
                var line = Encoding.ASCII.GetString(request, 0, length).Split('\n')[0];
                Interlocked.Increment(ref Dials);
                if (!line.StartsWith("CONNECT ", StringComparison.Ordinal) || !_ports.TryGetValue(uint.Parse(line[8..], CultureInfo.InvariantCulture), out var serve))
                {
                    return;
                }
                var reply = Encoding.ASCII.GetBytes(Reply);
                var part = ReplyPart == 0 ? reply.Length : ReplyPart;
                for (var sent = 0; sent < reply.Length; sent += part)
                {
                    await socket.SendAsync(reply.AsMemory(sent, Math.Min(part, reply.Length - sent)));
                    await Task.Yield();
                }
                await serve(socket);
            }
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException or IOException)
        {
            // Cut, or the host has gone.
        }
    }
}
