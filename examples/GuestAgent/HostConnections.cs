using Kuasar.Protocol;
using Kuasar.Vmm;

namespace GuestAgent;

/// <summary>Those of a listener's connections that come from the host: vsock is one for all containers of a guest, whatever their namespaces.</summary>
internal sealed class HostConnections(VsockListener listener) : IConnectionSource
{
    public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken)
    {
        while (await listener.AcceptStreamAsync(cancellationToken) is { } stream)
        {
            if (stream.RemoteEndPoint.ContextId == VsockEndPoint.HostCid)
            {
                return stream.ToConnection();
            }
            await stream.DisposeAsync();
        }
        return null;
    }

    public ValueTask DisposeAsync() => listener.DisposeAsync();
}
