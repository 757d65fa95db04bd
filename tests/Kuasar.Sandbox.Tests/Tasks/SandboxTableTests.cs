using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Tasks;

public sealed class SandboxTableTests
{
    private static readonly TaskKey Key = new("instance", "ns", "pod");

    private readonly TestSandboxer _sandboxer = new();
    private readonly SandboxTable _table;

    public SandboxTableTests() => _table = new SandboxTable(_sandboxer);

    [Fact]
    public async Task A_pods_containers_share_one_that_ends_with_the_last()
    {
        var leases = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Task.Run(() => _table.AcquireAsync(Key)))).InTime();
        Assert.All(leases, lease => Assert.Same(leases[0].Sandbox, lease.Sandbox));
        await using (await _table.AcquireAsync(Key with { Namespace = "other" }).InTime())
        {
        }
        Assert.Equal(["create pod", "create pod", "dispose pod"], _sandboxer.Log);

        for (var i = 0; i < 19; i++)
        {
            await leases[i].DisposeAsync();
            await leases[i].DisposeAsync();
        }
        Assert.Equal(3, _sandboxer.Log.Count);
        await leases[19].DisposeAsync();

        Assert.Equal("dispose pod", _sandboxer.Log[^1]);
        await using var again = await _table.AcquireAsync(Key).InTime();
        Assert.NotSame(leases[0].Sandbox, again.Sandbox);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_creation_that_fails_fails_all_who_wait_and_the_next_tries_anew(bool atOnce)
    {
        var failed = new TaskCompletionSource();
        _sandboxer.OnCreate = _ => atOnce ? throw new SandboxException(SandboxError.Unavailable, "not now") : failed.Task;
        var waiting = Enumerable.Range(0, 5).Select(_ => _table.AcquireAsync(Key)).ToArray();
        failed.SetException(new SandboxException(SandboxError.Unavailable, "not now"));

        foreach (var each in waiting)
        {
            await Within.Fails(SandboxError.Unavailable, () => each);
        }

        _sandboxer.OnCreate = _ => Task.CompletedTask;
        await using var lease = await _table.AcquireAsync(Key).InTime();
        Assert.DoesNotContain("dispose pod", _sandboxer.Log);
    }

    [Fact]
    public async Task One_that_is_wanted_again_while_it_ends_is_made_after_its_end()
    {
        var lease = await _table.AcquireAsync(Key).InTime();
        var ending = new TaskCompletionSource();
        _sandboxer.OnDisposeAsync = () => ending.Task;
        var release = lease.DisposeAsync();
        var again = _table.AcquireAsync(Key);

        Assert.Equal(["create pod"], _sandboxer.Log);
        ending.SetResult();

        await release.InTime();
        await using (await again.InTime())
        {
        }
        Assert.Equal(["create pod", "dispose pod", "create pod", "dispose pod"], _sandboxer.Log);
    }
}
