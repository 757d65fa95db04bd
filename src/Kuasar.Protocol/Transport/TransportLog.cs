using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Transport;

internal static partial class TransportLog
{
    [LoggerMessage(1001, LogLevel.Warning, "{Address}: accept failed ({Code}); trying again after a pause.")]
    internal static partial void AcceptFailed(ILogger logger, Exception error, string address, SocketError code);

    [LoggerMessage(1002, LogLevel.Warning, "{Address}: process {ProcessId} of user {UserId} refused by the peer policy.")]
    internal static partial void PeerRefused(ILogger logger, string address, int processId, uint userId);

    [LoggerMessage(1003, LogLevel.Warning, "{Address}: peer refused, its credentials could not be checked.")]
    internal static partial void PeerUnknown(ILogger logger, Exception error, string address);
}
