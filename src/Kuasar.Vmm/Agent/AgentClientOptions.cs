using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm;

/// <summary>How an <see cref="AgentClient"/> behaves. Immutable; the defaults are right for Kuasar's vmm-task too.</summary>
public sealed record AgentClientOptions
{
    /// <summary>For each dial. Calls made while there is no connection wait that long at most. Default 5 s.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>For each Check and each half of a clock synchronisation. Default 1 s.</summary>
    public TimeSpan CheckTimeout { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>For SetupSandbox. Default 10 s.</summary>
    public TimeSpan SetupTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Between attempts: of readiness where the guest does not call home, and of a lost connection. Default 50 ms.</summary>
    public TimeSpan RetryInterval { get; init; } = TimeSpan.FromMilliseconds(50);

    /// <summary>A guest's clock that is off by no more is left alone. Default 10 ms.</summary>
    public TimeSpan ClockTolerance { get; init; } = TimeSpan.FromMilliseconds(10);

    /// <summary>Clock of the host, and of the waits.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Null logs nothing.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }
}
