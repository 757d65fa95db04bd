using Kuasar.Domain;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>The sandboxes that tasks imply: containerd's podsandbox and ctr know of no other.</summary>
public sealed class ImpliedSandboxTests : IDisposable
{
    private const string Containerd = "/run/containerd.sock";
    private static readonly TaskKey Key = new("instance", "ns", "pod");

    private readonly Bed _bed = new();
    private readonly TestSandboxer _sandboxer = new();
    private readonly DomainPaths _paths;
    private readonly SandboxManager _manager;

    public ImpliedSandboxTests()
    {
        _paths = new DomainPaths(_bed.PathOf("run"));
        _manager = Managers.Make(_paths, _sandboxer, _bed.Processes, TimeProvider.System);
    }

    public void Dispose() => _bed.Dispose();

    private Task<SandboxMember> JoinAsync(TaskKey? key = null) => _manager.JoinAsync(key ?? Key, Containerd, "/bundle");

    [Fact]
    public async Task A_pods_containers_share_one_that_ends_with_the_last()
    {
        var members = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => Task.Run(() => JoinAsync()))).InTime();
        Assert.All(members, member => Assert.Same(members[0].Sandbox, member.Sandbox));
        Assert.True(Directory.Exists(_sandboxer.Last.Spec.WorkDirectory));
        await using (await JoinAsync(Key with { Namespace = "other" }).InTime())
        {
        }
        Assert.Equal(["create pod", "start pod", "create pod", "start pod", "stop pod 0", "dispose pod"], _sandboxer.Log);

        for (var i = 0; i < 19; i++)
        {
            await members[i].DisposeAsync();
            await members[i].DisposeAsync();
        }
        Assert.Equal(6, _sandboxer.Log.Count);
        await members[19].DisposeAsync();

        Assert.Equal("dispose pod", _sandboxer.Log[^1]);
        Assert.Equal(0, _manager.Count);
        Assert.False(Directory.Exists(_sandboxer.Last.Spec.WorkDirectory));
        await using var again = await JoinAsync().InTime();
        Assert.NotSame(members[0].Owner, again.Owner);
    }

    [Theory]
    [InlineData("create")]
    [InlineData("create, later")]
    [InlineData("start")]
    public async Task One_that_does_not_come_up_fails_all_who_wait_and_the_next_tries_anew(string step)
    {
        var failed = new TaskCompletionSource();
        var error = new SandboxException(SandboxError.Unavailable, "not now");
        _sandboxer.OnCreate = _ => step == "create" ? throw error : step == "start" ? Task.CompletedTask : failed.Task;
        _sandboxer.OnStart = (_, _) => step == "start" ? throw error : Task.CompletedTask;
        var waiting = Enumerable.Range(0, 5).Select(_ => JoinAsync()).ToArray();
        failed.SetException(error);

        foreach (var each in waiting)
        {
            await Within.Fails(SandboxError.Unavailable, () => each);
        }

        Assert.Equal(step == "start", _sandboxer.Log.Contains("dispose pod"));
        Assert.Equal(0, _manager.Count);
        Assert.Empty(DomainPaths.IdFolders(_paths.Sandboxes));
        _sandboxer.OnCreate = _ => Task.CompletedTask;
        _sandboxer.OnStart = (_, _) => Task.CompletedTask;
        await using var member = await JoinAsync().InTime();
    }

    [Fact]
    public async Task One_that_is_wanted_again_while_it_ends_is_made_after_its_end()
    {
        var member = await JoinAsync().InTime();
        var ending = new TaskCompletionSource();
        _sandboxer.OnDisposeAsync = () => ending.Task;
        var release = member.DisposeAsync();
        var again = JoinAsync();

        Assert.Equal(["create pod", "start pod", "stop pod 0"], _sandboxer.Log);
        ending.SetResult();

        await release.InTime();
        await using (await again.InTime())
        {
        }
        Assert.Equal(2, _sandboxer.Log.Count(line => line == "dispose pod"));
        Assert.Equal("create pod", _sandboxer.Log[4]);
    }

    [Fact]
    public async Task Its_record_is_written_only_when_it_has_something_to_undo()
    {
        await using (await JoinAsync().InTime())
        {
            Assert.Empty(Directory.GetFiles(_sandboxer.Last.Spec.WorkDirectory));
            _sandboxer.Last.Spec.RecordMount("/a mount");

            var record = SandboxRecordFile.Read(_sandboxer.Last.Spec.WorkDirectory)!;
            Assert.Equal(("/bundle", true, "/a mount"), (record.Bundle, record.Implied, Assert.Single(record.Mounts)));
        }
        Assert.Empty(DomainPaths.IdFolders(_paths.Sandboxes));
    }

    [Fact]
    public async Task What_could_not_be_undone_is_told_to_the_next_and_tried_again()
    {
        var member = await JoinAsync().InTime();
        // umount has an error for it that is not "not mounted".
        var spec = _sandboxer.Last.Spec;
        spec.RecordMount("/" + new string('x', 300));
        await member.DisposeAsync().InTime();
        Assert.Equal(0, _manager.Count);

        await Within.Fails(SandboxError.Unavailable, () => JoinAsync());

        var record = SandboxRecordFile.Read(spec.WorkDirectory)!;
        record.Mounts.Clear();
        SandboxRecordFile.Write(spec.WorkDirectory, record);
        await using var next = await JoinAsync().InTime();
    }

    [Fact]
    public async Task A_task_of_a_sandbox_that_an_earlier_life_had_is_refused()
    {
        var folder = _paths.SandboxFolder(Containerd, "ns", "pod");
        SandboxRecordFile.Write(folder, new SandboxRecord { ContainerdAddress = Containerd, Namespace = "ns", Id = "pod", Bundle = "/b" });

        await Within.Fails(SandboxError.FailedPrecondition, () => JoinAsync());

        Assert.NotNull(SandboxRecordFile.Read(folder));
        Assert.Empty(_sandboxer.Log);
        // One that tasks had implied is cleared away.
        SandboxRecordFile.Write(folder, new SandboxRecord { ContainerdAddress = Containerd, Namespace = "ns", Id = "pod", Implied = true });
        await using var member = await JoinAsync().InTime();
        Assert.Equal(["create pod", "start pod"], _sandboxer.Log);
    }
}
