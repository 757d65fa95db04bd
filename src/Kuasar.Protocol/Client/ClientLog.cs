using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Client;

internal static partial class ClientLog
{
    [LoggerMessage(1101, LogLevel.Debug, "The server closed the connection.")]
    internal static partial void ConnectionClosed(ILogger logger);

    [LoggerMessage(1102, LogLevel.Debug, "Connection lost: {Reason}")]
    internal static partial void ConnectionLost(ILogger logger, string reason);

    [LoggerMessage(1103, LogLevel.Warning, "Connection closed: {Reason}")]
    internal static partial void NotTtrpc(ILogger logger, string reason);
}
