using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Pods;

public sealed class PodNode(TestRun run) : OwnNode(run, "pods");

/// <summary>With a pause container.</summary>
public sealed class PodTests(TestRun run, PodNode own) : PodTestBase(run, own), IClassFixture<PodNode>
{
    protected override string Handler => Settings.Handler;

    [Fact]
    public async Task Containers_of_a_pod_share_its_namespaces()
    {
        await using var pod = await RunAsync("shared");
        await pod.StartContainerAsync(null, "sleep", "3600");
        var pause = await InitOfAsync(pod.Id);
        var init = await InitOfAsync(pod.ContainerId);
        foreach (var name in (string[])["net", "ipc", "uts"])
        {
            Assert.Equal(Namespace(pause, name), Namespace(init, name));
        }
        Assert.NotEqual(Namespace(pause, "mnt"), Namespace(init, "mnt"));
    }
}
