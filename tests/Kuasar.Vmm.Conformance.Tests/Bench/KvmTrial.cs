using Kuasar.Linux;
using Kuasar.Vmm.Hypervisors.Qemu;

namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>Whether KVM runs guests here: found out once, by the probe of QEMU's driver, for the hypervisors that have no emulation.</summary>
internal sealed class KvmTrial(QemuOptions options)
{
    private readonly Lazy<string?> _obstacle = new(() => TryAsync(options).GetAwaiter().GetResult());

    /// <summary>Why it does not; null: it does.</summary>
    internal string? Obstacle => _obstacle.Value;

    private static async Task<string?> TryAsync(QemuOptions options)
    {
        if (!File.Exists("/dev/kvm"))
        {
            return "there is no /dev/kvm";
        }
        if (options.Qemu.Arguments.Prepend(options.Qemu.Path).FirstOrDefault(file => Path.IsPathFullyQualified(file) && !Path.Exists(file)) is { } missing)
        {
            return $"whether KVM runs guests cannot be tried without {missing}: run eng/vmm.sh";
        }
        using var scratch = new ScratchFolder();
        var works = await new KvmProbe(options).IsUsedAsync(
            Path.Combine(AgentBench.Image, "vmlinux"), scratch.Path("console"), arguments => RunAsync(options, arguments, scratch.Path("log")), CancellationToken.None);
        return works ? null : $"there is /dev/kvm, but no kernel boots with it within {options.KvmProbeTimeout.TotalSeconds} s";
    }

    private static async Task<bool> RunAsync(QemuOptions options, IReadOnlyList<string> arguments, string log)
    {
        using var process = new OwnVmProcesses().Start(options.Qemu.With(log, arguments));
        try
        {
            return await process.Exited.WaitAsync(options.KvmProbeTimeout) == 0;
        }
        catch (TimeoutException)
        {
            return false;
        }
        finally
        {
            process.Signal(Libc.SIGKILL);
            await process.Exited;
        }
    }
}
