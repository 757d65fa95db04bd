namespace Kuasar.Protocol;

/// <summary>
/// Where a server gets its connections from: a listening socket, or another process that hands accepted connections over.
/// </summary>
public interface IConnectionSource : IAsyncDisposable
{
    /// <summary>The next connection, which the caller owns; null when no more will come.</summary>
    /// <param name="cancellationToken">Ends the wait, not the source.</param>
    /// <exception cref="OperationCanceledException"><paramref name="cancellationToken"/> was cancelled.</exception>
    /// <remarks>One call at a time. A bad peer or a passing error of the system must not come out of here: log it, go on.</remarks>
    ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken);
}
