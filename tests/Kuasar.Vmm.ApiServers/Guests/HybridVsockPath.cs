using System.Net.Sockets;
using Kuasar.Vmm.ApiServers.Http;

namespace Kuasar.Vmm.ApiServers.Guests;

/// <summary>The socket of a vsock device that has been configured and whose guest has not been started: bound, so that a taken path is found out.</summary>
internal sealed class HybridVsockPath : IDisposable
{
    private readonly string _path;
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    private HybridVsockPath(string path) => _path = path;

    internal static HybridVsockPath Reserve(string path)
    {
        var result = new HybridVsockPath(path);
        try
        {
            result._socket.Bind(new UnixDomainSocketEndPoint(path));
            return result;
        }
        catch (SocketException taken)
        {
            result._socket.Dispose();
            throw new ApiException(400, $"Cannot create backend for vsock device: UnixBind({taken.Message})");
        }
    }

    public void Dispose()
    {
        if (!_socket.SafeHandle.IsClosed)
        {
            _socket.Dispose();
            File.Delete(_path);
        }
    }
}
