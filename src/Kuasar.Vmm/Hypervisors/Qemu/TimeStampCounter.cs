using System.Globalization;
using System.Runtime.Intrinsics.X86;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>
/// The host's time stamp counter, which an emulated guest sees as its own. The guest's kernel is told its rate: it would measure it by polling a
/// timer that on a busy host comes too late, and may then hang at boot.
/// </summary>
internal static class TimeStampCounter
{
    /// <summary>Ticks in a millisecond.</summary>
    internal static long Kilohertz { get; } = Read();

    private static long Read()
    {
        if (X86Base.IsSupported)
        {
            // Leaf 15H: ticks are crystal * EBX / EAX; the crystal's rate in ECX, which many processors leave out.
            const int Crystal = 0x15, Hypervisor = 0x40000000, HypervisorTimings = 0x40000010;
            if (X86Base.CpuId(0, 0).Eax >= Crystal && X86Base.CpuId(Crystal, 0) is { Eax: > 0, Ebx: > 0, Ecx: > 0 } ratio)
            {
                return (long)ratio.Ecx * ratio.Ebx / ratio.Eax / 1000;
            }
            // Leaf 1, ECX bit 31: a hypervisor; its timing leaf has the rate in kHz in EAX.
            if (X86Base.CpuId(1, 0).Ecx < 0 && (uint)X86Base.CpuId(Hypervisor, 0).Eax is >= HypervisorTimings and < Hypervisor + 0x100u
                && X86Base.CpuId(HypervisorTimings, 0).Eax is > 0 and var kilohertz)
            {
                return kilohertz;
            }
        }
        // The clock at this moment; in most virtual machines the counter's.
        var line = File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("cpu MHz", StringComparison.Ordinal));
        return line is null ? throw new VmException(VmError.Unsupported, "the rate of this host's time stamp counter is not known")
            : (long)(double.Parse(line.AsSpan(line.IndexOf(':') + 1), CultureInfo.InvariantCulture) * 1000);
    }
}
