using System.Globalization;
using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Tests;

/// <summary>A guest that counts: saved, and restored into another machine.</summary>
public sealed class SnapshotTests
{
    private const string Counter = "quiet rdinit=/bin/sh -- -c \"i=0; while :; do i=$((i+1)); echo tick-$i; sleep 0.1; done\"";

    [Fact]
    public async Task AGuestGoesOnWhereItWasSaved()
    {
        await using var first = new QemuGuest(change: Counting);
        await first.Machine.BootAsync(CancellationToken.None);
        await UntilAsync(first, ticks => ticks.Count >= 10);
        Assert.Equal(VmError.WrongState, (await Assert.ThrowsAsync<VmException>(() => first.Machine.SnapshotAsync(first.PathOf("saved"), CancellationToken.None))).Error);
        await first.Machine.PauseAsync(CancellationToken.None);
        await first.Machine.SnapshotAsync(first.PathOf("saved"), CancellationToken.None);
        var saved = Ticks(first)[^1];
        // It is not harmed by it.
        await first.Machine.ResumeAsync(CancellationToken.None);
        await UntilAsync(first, ticks => ticks[^1] > saved);

        await using var second = new QemuGuest(change: Counting);
        await using var machine = await second.RestoreAsync(first.PathOf("saved"), Counting);
        Assert.Equal(VmState.Paused, machine.State);
        Assert.Empty(Ticks(second));
        await machine.ResumeAsync(CancellationToken.None);
        await UntilAsync(second, ticks => ticks.Count >= 3);
        Assert.InRange(Ticks(second)[0], saved, saved + 2);
        await machine.KillAsync();
    }

    [Fact]
    public async Task WhatCannotBeRestoredIsRefused()
    {
        await using var guest = new QemuGuest(change: Counting);
        await RefusedAsync(VmError.InvalidConfig, guest, Counting);
        await RefusedAsync(VmError.Unsupported, guest, (_, config) => config with { FileSystems = [] });
        await RefusedAsync(VmError.Unsupported, guest, (_, config) => config with { Vsock = null });
    }

    private static async Task RefusedAsync(VmError error, QemuGuest guest, Func<QemuGuest, VmConfig, VmConfig> change) =>
        Assert.Equal(error, (await Assert.ThrowsAsync<VmException>(() => guest.RestoreAsync(guest.PathOf("nothing"), change))).Error);

    private static VmConfig Counting(QemuGuest guest, VmConfig config) => config with
    {
        CommandLine = Counter, Vsock = null, FileSystems = [], MemoryBytes = 128 * QemuGuest.MiB,
    };

    private static List<int> Ticks(QemuGuest guest) =>
        [.. guest.Console.Split('\n').Where(line => line.StartsWith("tick-", StringComparison.Ordinal) && line.EndsWith('\r'))
            .Select(line => int.Parse(line.AsSpan(5).TrimEnd(), CultureInfo.InvariantCulture))];

    private static async Task UntilAsync(QemuGuest guest, Func<List<int>, bool> isRight)
    {
        for (var i = 0; !(Ticks(guest) is { Count: > 0 } ticks && isRight(ticks)); i++)
        {
            Assert.True(i < 600, $"the guest does not count:\n{guest.Console}");
            await Task.Delay(100);
        }
    }
}
