using Kuasar.Vmm.Conformance.Tests.Bench;

namespace Kuasar.Vmm.Tests.Support;

/// <summary>What real guests need.</summary>
internal static class Programs
{
    internal static string Image => Environment.GetEnvironmentVariable("KUASAR_GUEST") ?? Repository.Path("artifacts/vmm/guest");

    internal static string Prefix => Environment.GetEnvironmentVariable("KUASAR_VMM_PREFIX") ?? Repository.Path("artifacts/vmm/prefix");

    internal static QemuOptions Options { get; } = QemuOptions.FromPrefix(Prefix) with { Accelerator = QemuAccelerator.Tcg };

    /// <summary>Skips the test that calls it where they are missing.</summary>
    private static void Require()
    {
        Assert.SkipUnless(Environment.UserName == "root", "needs root: virtiofsd");
        Assert.SkipUnless(File.Exists(Path.Combine(Image, "initrd.img")), $"no guest image in {Image}: run eng/guest-image.sh");
        Assert.SkipUnless(File.Exists(Path.Combine(Prefix, "usr/bin/qemu-system-x86_64")), $"no QEMU in {Prefix}: run eng/vmm.sh");
    }

    /// <summary>A folder for a machine, where they are.</summary>
    internal static ScratchFolder Scratch()
    {
        Require();
        return new ScratchFolder();
    }
}
