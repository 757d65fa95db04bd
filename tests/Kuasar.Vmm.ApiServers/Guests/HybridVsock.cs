using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace Kuasar.Vmm.ApiServers.Guests;

/// <summary>
/// The host's side of a hybrid vsock device: <c>CONNECT n\n</c> on the socket is answered by <c>OK m\n</c> or the end; a guest's connect goes to
/// the socket's path, _ and the port. Once a host has dialled while the guest was paused, no connection is served any more, which is how
/// vhost-device-vsock behaves; a host that would do that is to be found out.
/// </summary>
internal sealed class HybridVsock : IDisposable
{
    private readonly string _path;
    private readonly Gate _gate;
    private readonly Func<int, Func<Stream, Task>?> _listeners;
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly List<Socket> _connections = [];
    private int _nextPort = 0x40000000;
    private volatile bool _wedged;

    /// <exception cref="SocketException">The path is taken, as a VMM finds it too.</exception>
    internal HybridVsock(string path, Gate gate, Func<int, Func<Stream, Task>?> listeners)
    {
        (_path, _gate, _listeners) = (path, gate, listeners);
        _socket.Bind(new UnixDomainSocketEndPoint(path));
        _socket.Listen();
        _ = AcceptAsync();
    }

    /// <summary>Ends every connection, as a device that is reset does.</summary>
    internal void Reset()
    {
        lock (_connections)
        {
            _connections.ForEach(c => c.Dispose());
            _connections.Clear();
        }
    }

    /// <summary>A connection of the guest's to a port of the host.</summary>
    internal async Task<Stream> DialAsync(int port)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint($"{_path}_{port}"));
        }
        catch
        {
            socket.Dispose();
            throw;
        }
        return Keep(socket);
    }

    public void Dispose()
    {
        _socket.Dispose();
        Reset();
    }

    private NetworkStream Keep(Socket socket)
    {
        lock (_connections)
        {
            _connections.RemoveAll(c => !c.Connected);
            _connections.Add(socket);
        }
        return new NetworkStream(socket, ownsSocket: true);
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(Keep(await _socket.AcceptAsync()));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
        }
    }

    private async Task ServeAsync(NetworkStream stream)
    {
        using (stream)
        {
            try
            {
                var port = await ReadPortAsync(stream);
                _wedged |= !_gate.Open;
                if (_wedged)
                {
                    await Task.Delay(Timeout.Infinite);
                }
                if (port is { } p && _listeners(p) is { } serve)
                {
                    await stream.WriteAsync(Encoding.ASCII.GetBytes($"OK {Interlocked.Increment(ref _nextPort)}\n"));
                    await serve(stream);
                }
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // The host, or the device, has ended the connection.
            }
        }
    }

    // The longest command is CONNECT 4294967295.
    private static async Task<int?> ReadPortAsync(NetworkStream stream)
    {
        var line = new StringBuilder();
        var one = new byte[1];
        while (line.Length < 32 && await stream.ReadAsync(one) == 1)
        {
            if (one[0] == '\n')
            {
                var text = line.ToString();
                return text.StartsWith("CONNECT ", StringComparison.Ordinal)
                    && int.TryParse(text.AsSpan(8), NumberStyles.None, CultureInfo.InvariantCulture, out var port) ? port : null;
            }
            line.Append((char)one[0]);
        }
        return null;
    }
}
