using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Control;

public sealed class ContainerdVersionsTests : IDisposable
{
    private readonly Bed _bed = new();

    public void Dispose() => _bed.Dispose();

    [Theory]
    [InlineData("1.7.27", 2)]
    [InlineData("v1.6.0", 2)]
    [InlineData("1.7.0-rc.1", 2)]
    [InlineData("containerd containerd.io 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da", 2)]
    [InlineData("containerd github.com/containerd/containerd v1.7.2 0cae528dd6cb557f7201036e9f43420650207b58", 2)]
    [InlineData("containerd github.com/containerd/containerd/v2 2.1.9 1c4457e00facac03ce1d75f7b6777a7a851e5c41", 3)]
    [InlineData("containerd github.com/containerd/containerd/v2 v2.0.0 207ad711eabd375a01713109a8a197d197ff6542", 3)]
    [InlineData("2.3.0", 3)]
    [InlineData("10.0.0", 3)]
    [InlineData("11.0.0", 3)]
    [InlineData("containerd github.com/containerd/containerd/v2 (devel)", 3)]
    [InlineData("", 3)]
    [InlineData("no version", 3)]
    public void The_version_says_which_task_service(string text, uint version) =>
        Assert.Equal(version, ContainerdVersions.TaskVersion(text));

    [Fact]
    public async Task A_version_that_is_told_is_believed_and_else_the_binary_is_asked_once_a_build()
    {
        var versions = new ContainerdVersions(_bed.Processes, _bed.Time);
        var binary = _bed.Script("containerd", $"echo asked >>{_bed.PathOf("asked")}; echo containerd x v1.7.2 y");
        var containerd = new ContainerdInstance { Binary = binary };
        Assert.Equal(3u, await versions.GetTaskVersionAsync(new ContainerdInstance { Binary = binary, Version = "2.3.0" }).InTime());

        var answers = await Task.WhenAll(Enumerable.Range(0, 10).Select(_ => versions.GetTaskVersionAsync(containerd))).InTime();

        Assert.All(answers, answer => Assert.Equal(2u, answer));
        Assert.Equal("asked\n", await File.ReadAllTextAsync(_bed.PathOf("asked"), TestContext.Current.CancellationToken));
        _bed.Script("containerd", "echo containerd x v2.1.9 and more y");
        Assert.Equal(3u, await versions.GetTaskVersionAsync(containerd).InTime());
        Assert.Equal(3u, await versions.GetTaskVersionAsync(new ContainerdInstance { Binary = "/no/such" }).InTime());
        Assert.Equal(3u, await versions.GetTaskVersionAsync(new ContainerdInstance()).InTime());
    }

    [Fact]
    public async Task A_binary_that_hangs_is_killed_and_asked_again_later()
    {
        var versions = new ContainerdVersions(_bed.Processes, _bed.Time);
        var containerd = new ContainerdInstance
        {
            Binary = _bed.Script("containerd", $"if [ -e {_bed.PathOf("busy")} ]; then exec sleep 1000; fi; echo containerd x v1.7.2 y"),
        };
        await File.WriteAllTextAsync(_bed.PathOf("busy"), "", TestContext.Current.CancellationToken);
        var asking = versions.GetTaskVersionAsync(containerd);
        // The reaper's sweep is armed for as long: one timer more.
        await Within.Until(() => _bed.Time.Armed(TimeSpan.FromSeconds(5)) == 2, "the limit");
        _bed.Time.Advance(TimeSpan.FromSeconds(5));
        Assert.Equal(3u, await asking.InTime());

        File.Delete(_bed.PathOf("busy"));

        Assert.Equal(2u, await versions.GetTaskVersionAsync(containerd).InTime());
    }
}
