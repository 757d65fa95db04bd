using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol;

/// <summary>How a <see cref="Multiplexer"/> behaves. Immutable; the defaults are right for NRI.</summary>
public sealed record MultiplexerOptions
{
    /// <summary>
    /// Bytes that may wait for the reader of one connection, and 64 KiB more; past it nothing is read for any. A frame that its
    /// reader has seen but not yet whole does not count. Default 1 MiB.
    /// </summary>
    public int ReceiveLimit { get; init; } = 1 << 20;

    /// <summary>When one connection holds up the others for so long, all are aborted. Default 30 s.</summary>
    public TimeSpan StallTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Clock of that.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>Null logs nothing.</summary>
    public ILoggerFactory? LoggerFactory { get; init; }

    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ReceiveLimit);
        if (StallTimeout != Timeout.InfiniteTimeSpan)
        {
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(StallTimeout, TimeSpan.Zero);
        }
        ArgumentNullException.ThrowIfNull(TimeProvider);
    }
}
