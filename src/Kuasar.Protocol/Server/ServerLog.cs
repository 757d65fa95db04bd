using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Server;

internal static partial class ServerLog
{
    [LoggerMessage(1201, LogLevel.Warning, "Connection of {Peer} closed: {Reason}")]
    internal static partial void NotTtrpc(ILogger logger, string peer, string reason);

    [LoggerMessage(1202, LogLevel.Debug, "Connection of {Peer} lost: {Reason}")]
    internal static partial void ConnectionLost(ILogger logger, string peer, string reason);

    [LoggerMessage(1203, LogLevel.Warning, "{Peer} has read nothing for {Timeout}; connection aborted.")]
    internal static partial void PeerStalled(ILogger logger, string peer, TimeSpan timeout);

    [LoggerMessage(1204, LogLevel.Warning, "{Peer} sends bad requests and does not read the answers; connection aborted.")]
    internal static partial void PeerFloods(ILogger logger, string peer);

    [LoggerMessage(1205, LogLevel.Error, "{Method} failed.")]
    internal static partial void HandlerFailed(ILogger logger, Exception error, string method);
}
