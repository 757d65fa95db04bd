using Kuasar.Vmm.Conformance.Tests.Bench;

namespace Kuasar.Vmm.Conformance.Tests.Drivers;

/// <summary>QEMU with real guests: emulated where KVM does not run them.</summary>
public sealed class QemuConformance() : DriverConformance(RealBenches.Qemu());

/// <summary>Cloud Hypervisor itself, where it is installed and KVM runs its guests.</summary>
public sealed class RealCloudHypervisorConformance() : DriverConformance(RealBenches.CloudHypervisor());

/// <summary>Firecracker itself, where it is installed and KVM runs its guests.</summary>
public sealed class RealFirecrackerConformance() : DriverConformance(RealBenches.Firecracker());

/// <summary>Benches that need programs and a machine that are not everywhere; a test without is skipped, and says what is missing.</summary>
internal static class RealBenches
{
    private static readonly string s_prefix = Environment.GetEnvironmentVariable("KUASAR_VMM_PREFIX") ?? Repository.Path("artifacts/vmm/prefix");
    private static readonly QemuHypervisor s_qemu = new(QemuOptions.FromPrefix(s_prefix));
    private static readonly KvmTrial s_kvm = new(s_qemu.Options);

    internal static AgentBench Qemu()
    {
        RequireGuest();
        Assert.SkipUnless(File.Exists(Path.Combine(s_prefix, "usr/bin/qemu-system-x86_64")), $"no QEMU in {s_prefix}: run eng/vmm.sh");
        return new AgentBench(s_qemu);
    }

    internal static AgentBench CloudHypervisor()
    {
        RequireGuest();
        return new AgentBench(new CloudHypervisor(new CloudHypervisorOptions
        {
            CloudHypervisor = Find("cloud-hypervisor"), Virtiofsd = s_qemu.Options.Virtiofsd,
        }));
    }

    internal static AgentBench Firecracker()
    {
        RequireGuest();
        return new AgentBench(new Firecracker(new FirecrackerOptions { Firecracker = Find("firecracker") }));
    }

    private static void RequireGuest()
    {
        Assert.SkipUnless(Environment.UserName == "root", "virtiofsd and guests need root");
        Assert.SkipUnless(File.Exists(Path.Combine(AgentBench.Image, "initrd.img")), $"no guest image in {AgentBench.Image}: run eng/guest-image.sh");
    }

    // They have no emulation, and a KVM that only looks like one does not do.
    private static string Find(string program)
    {
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Append(Repository.Path("artifacts/vmm/bin"))
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);
        Assert.SkipWhen(path is null, $"no {program} in PATH or artifacts/vmm/bin");
        Assert.SkipWhen(s_kvm.Obstacle is not null, $"{program}: {s_kvm.Obstacle}");
        return path;
    }
}
