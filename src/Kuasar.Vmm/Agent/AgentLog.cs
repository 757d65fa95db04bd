using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm.Agent;

internal static partial class AgentLog
{
    [LoggerMessage(2301, LogLevel.Debug, "The guest's clock could not be set: {Reason}")]
    internal static partial void ClockNotSet(ILogger logger, string reason);
}
