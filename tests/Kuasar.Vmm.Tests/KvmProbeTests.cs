using Kuasar.Vmm.Hypervisors.Qemu;

namespace Kuasar.Vmm.Tests;

public sealed class KvmProbeTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task WhatAMachineOfAnEarlierLifeRunsWithIsNotTriedAgain(bool isUsed)
    {
        var probe = new KvmProbe(new QemuOptions());
        probe.Learn(isUsed);
        probe.Learn(!isUsed);
        Assert.Equal(isUsed, await probe.IsUsedAsync("/kernel", "/console", _ => throw new InvalidOperationException("it is tried"), CancellationToken.None));
    }

    /// <summary>Two machines are booted at once, and the one that tries KVM for both ends: that is not the other's end.</summary>
    [Fact]
    public async Task TheNextTriesWhenTheFirstHasEnded()
    {
        Assert.SkipUnless(File.Exists("/dev/kvm"), "there is no /dev/kvm to try");
        var probe = new KvmProbe(new QemuOptions());
        var (firsts, tries) = (new TaskCompletionSource<bool>(), 0);
        var first = probe.IsUsedAsync("/kernel", "/console", _ => firsts.Task, CancellationToken.None);
        var second = probe.IsUsedAsync("/kernel", "/console", Second, CancellationToken.None);
        Assert.False(second.IsCompleted);
        firsts.SetException(new VmException(VmError.Ended, "the machine has ended meanwhile"));
        await Assert.ThrowsAsync<VmException>(() => first);
        Assert.False(await second);
        Assert.False(await probe.IsUsedAsync("/kernel", "/console", Second, CancellationToken.None));
        Assert.Equal(1, tries);

        Task<bool> Second(IReadOnlyList<string> arguments)
        {
            tries++;
            return Task.FromResult(false);
        }
    }
}
