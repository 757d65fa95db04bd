using Kuasar.Protocol;

namespace Kuasar.Vmm;

/// <summary>Accepts vsock connections: <see cref="VsockEndPoint.Listen"/>. As a connection source it gives them to a ttrpc server.</summary>
public abstract class VsockListener : IConnectionSource, IAsyncDisposable
{
    private protected VsockListener(VsockEndPoint localEndPoint) => LocalEndPoint = localEndPoint;

    /// <summary>Where it listens; a port that the system has chosen is told.</summary>
    public VsockEndPoint LocalEndPoint { get; }

    /// <summary>The next connection, which is the caller's to dispose; null after <see cref="DisposeAsync"/>.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled; the listener goes on.</exception>
    public abstract ValueTask<VsockStream?> AcceptStreamAsync(CancellationToken cancellationToken);

    /// <inheritdoc/>
    public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken) =>
        (await AcceptStreamAsync(cancellationToken).ConfigureAwait(false))?.ToConnection();

    /// <summary>Stops listening; connections that were accepted live on. Idempotent.</summary>
    public abstract ValueTask DisposeAsync();
}
