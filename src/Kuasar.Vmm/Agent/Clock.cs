using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Vmm.Agent;

/// <summary>The arithmetic of SyncClock, which is that of the Precision Time Protocol.</summary>
internal static class Clock
{
    /// <summary>Nanoseconds since 1970, in steps of 100.</summary>
    internal static long Now(TimeProvider time) => (time.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) * TimeSpan.NanosecondsPerTick;

    /// <summary>((c_send - c_arrive) + (s_arrive - s_send)) / 2: what the guest's clock lacks, when both ways take as long.</summary>
    /// <exception cref="InvalidDataException">The guest's times are absurd.</exception>
    internal static long Delta(SyncClockPacket packet)
    {
        try
        {
            return checked((packet.ClientSendTime - packet.ClientArriveTime + (packet.ServerArriveTime - packet.ServerSendTime)) / 2);
        }
        catch (OverflowException)
        {
            throw new InvalidDataException($"the guest's clock cannot be: {packet.ClientArriveTime} and {packet.ServerSendTime} ns");
        }
    }
}
