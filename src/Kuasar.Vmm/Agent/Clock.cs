using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Vmm.Agent;

/// <summary>The arithmetic of SyncClock, which is that of the Precision Time Protocol.</summary>
internal static class Clock
{
    /// <summary>Nanoseconds since 1970, in steps of 100.</summary>
    internal static long Now(TimeProvider time) => (time.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) * TimeSpan.NanosecondsPerTick;

    /// <summary>What an answer tells, in nanoseconds.</summary>
    /// <returns>
    /// Delta: ((c_send - c_arrive) + (s_arrive - s_send)) / 2, what the guest's clock lacks when both ways take as long. RoundTrip:
    /// (s_arrive - c_send) - (s_send - c_arrive), the time of both ways; the delta is wrong by half of it at most.
    /// </returns>
    /// <exception cref="InvalidDataException">The guest's times are absurd.</exception>
    internal static (long Delta, long RoundTrip) Measure(SyncClockPacket packet)
    {
        try
        {
            return checked((
                (packet.ClientSendTime - packet.ClientArriveTime + (packet.ServerArriveTime - packet.ServerSendTime)) / 2,
                packet.ServerArriveTime - packet.ClientSendTime - (packet.ServerSendTime - packet.ClientArriveTime)));
        }
        catch (OverflowException)
        {
            throw new InvalidDataException($"the guest's clock cannot be: {packet.ClientArriveTime} and {packet.ServerSendTime} ns");
        }
    }
}
