using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Transport;

internal static partial class TransportLog
{
    [LoggerMessage(1001, LogLevel.Warning, "{Address}: accept failed ({Code}); trying again after a pause.")]
    internal static partial void AcceptFailed(ILogger logger, Exception error, string address, SocketError code);

    [LoggerMessage(1002, LogLevel.Warning, "{Address}: process {ProcessId} of user {UserId}, group {GroupId} refused by the peer policy.")]
    internal static partial void PeerRefused(ILogger logger, string address, int processId, uint userId, uint groupId);

    [LoggerMessage(1003, LogLevel.Warning, "{Address}: peer refused, its credentials could not be checked.")]
    internal static partial void PeerUnknown(ILogger logger, Exception error, string address);

    [LoggerMessage(1010, LogLevel.Warning, "Multiplexed connection closed: {Reason}")]
    internal static partial void NotMultiplexed(ILogger logger, string reason);

    [LoggerMessage(1011, LogLevel.Warning, "A multiplexed connection was not read for {Timeout} and held up the others; all aborted.")]
    internal static partial void MultiplexedStalled(ILogger logger, TimeSpan timeout);
}
