using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Protocol.Contracts.RuntimeSandbox;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Sandbox.Tests.Support;
using SystemTask = System.Threading.Tasks.Task;

namespace Kuasar.Sandbox.Tests.Sandboxes;

/// <summary>What a containerd sees of a sandbox that lives, on the shim route.</summary>
public sealed class SandboxLifeTests : IAsyncLifetime
{
    private SandboxBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await SandboxBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async SystemTask A_whole_life_as_the_shim_controller_calls_it()
    {
        await _bed.CreateAsync();
        var spec = _bed.Sandboxer.Last.Spec;
        Assert.Equal((SandboxBed.Namespace, "pod", "/run/netns/cni-1"), (spec.Namespace, spec.Id, spec.NetworkNamespace));
        Assert.Equal((DomainPaths.InstanceKey(_bed.ContainerdAddress), "pod"), (spec.Instance, spec.Pod!.Hostname));
        Assert.Equal(_bed.FolderOf("pod"), spec.WorkDirectory);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(spec.WorkDirectory));
        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());

        var started = await _bed.Sandboxes.StartSandboxAsync(new StartSandboxRequest { SandboxId = "pod" }).ResponseAsync.InTime();
        Assert.Equal(4711u, started.Pid);
        Assert.True(TimeProvider.System.GetUtcNow() - started.CreatedAt.ToDateTimeOffset() < TimeSpan.FromMinutes(1));
        // 2.3 and later read a spec from here, when there is one.
        Assert.Null(started.Spec);

        var status = await _bed.StatusAsync(verbose: true);
        Assert.Equal(("pod", 4711u, "SANDBOX_READY", "{}"), (status.SandboxId, status.Pid, status.State, status.Info["info"]));
        Assert.Equal(started.CreatedAt, status.CreatedAt);
        Assert.Null(status.ExitedAt);
        Assert.Empty((await _bed.StatusAsync()).Info);
        var platform = (await _bed.Sandboxes.PlatformAsync(new PlatformRequest { SandboxId = "pod" }).ResponseAsync.InTime()).Platform;
        Assert.Equal(("linux", HostPlatform.Current.Architecture), (platform.Os, platform.Architecture));
        await _bed.Sandboxes.PingSandboxAsync(new PingRequest { SandboxId = "pod" }).ResponseAsync.InTime();
        var metrics = (await _bed.Sandboxes.SandboxMetricsAsync(new SandboxMetricsRequest { SandboxId = "pod" }).ResponseAsync.InTime()).Metrics;
        Assert.Equal(("pod", "metrics"), (metrics.Id, metrics.Data.TypeUrl));
        Assert.NotNull(metrics.Timestamp);

        var waits = Enumerable.Range(0, 3).Select(_ => _bed.WaitAsync()).ToArray();
        await _bed.StopAsync(timeout: 7);
        Assert.All(await SystemTask.WhenAll(waits).InTime(), wait => Assert.Equal(0u, wait.ExitStatus));
        status = await _bed.StatusAsync();
        Assert.Equal(("SANDBOX_NOTREADY", true), (status.State, status.ExitedAt is not null));
        Assert.Equal(status.ExitedAt, (await _bed.WaitAsync()).ExitedAt);
        await _bed.StopAsync();
        await _bed.StopAsync();

        await _bed.ShutdownAsync();
        // The second time too: told NotFound, containerd's shim controller would keep the bundle and the connection for ever.
        await _bed.ShutdownAsync();
        Assert.Equal(["create pod", "start pod", "stop pod 7", "dispose pod"], _bed.Sandboxer.Log);
        await _bed.AssertGoneAsync();
    }

    [Fact]
    public async SystemTask The_longest_timeout_is_no_error()
    {
        await _bed.RunAsync();
        await _bed.StopAsync(timeout: uint.MaxValue);
        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
    }

    [Fact]
    public async SystemTask Ids_that_nobody_has_are_NotFound_save_at_Shutdown()
    {
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.StartAsync("pod"));
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.StopAsync());
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.StatusAsync());
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.WaitAsync());
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Sandboxes.PlatformAsync(new PlatformRequest { SandboxId = "pod" }));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Sandboxes.PingSandboxAsync(new PingRequest { SandboxId = "pod" }));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Sandboxes.SandboxMetricsAsync(new SandboxMetricsRequest { SandboxId = "pod" }));
        await _bed.ShutdownAsync();
        Assert.Empty(_bed.Sandboxer.Log);
    }

    [Theory]
    [InlineData("")]
    [InlineData("../pod")]
    [InlineData("a/b")]
    [InlineData(".pod")]
    public async SystemTask Ids_that_are_none_are_InvalidArgument(string id)
    {
        await SandboxBed.Fails(StatusCode.InvalidArgument, async () => await _bed.Sandboxes.CreateSandboxAsync(new CreateSandboxRequest { SandboxId = id }));
        await SandboxBed.Fails(StatusCode.InvalidArgument, () => _bed.StartAsync(id));
        await SandboxBed.Fails(StatusCode.InvalidArgument, () => _bed.StopAsync(id));
        await SandboxBed.Fails(StatusCode.InvalidArgument, () => _bed.StatusAsync(id));
        await SandboxBed.Fails(StatusCode.InvalidArgument, () => _bed.WaitAsync(id));
        await SandboxBed.Fails(StatusCode.InvalidArgument, () => _bed.ShutdownAsync(id));
        Assert.False(Directory.Exists(_bed.Paths.Sandboxes));
    }

    [Fact]
    public async SystemTask A_second_Create_is_refused_and_harms_nothing()
    {
        await _bed.RunAsync();
        var container = await _bed.RunTaskAsync("c");
        var file = Path.Combine(_bed.FolderOf("pod"), "mine");
        await File.WriteAllTextAsync(file, "x", TestContext.Current.CancellationToken);

        await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync());
        await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync(options: SandboxBed.Options("other")));

        Assert.Equal(["create pod", "start pod"], _bed.Sandboxer.Log);
        Assert.True(File.Exists(file));
        Assert.Equal(Kuasar.Protocol.Contracts.Control.SandboxRecord.Types.State.Ready, SandboxRecordFile.Read(_bed.FolderOf("pod"))!.State);
        Assert.Equal("SANDBOX_READY", await _bed.StateAsync());
        Assert.Empty(container.Signals);
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.StartAsync("pod"));
        await _bed.StopAsync();
        await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync());
        await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.StartAsync("pod"));
    }

    [Fact]
    public async SystemTask What_is_not_a_pods_config_is_kept_and_a_broken_one_refused()
    {
        var broken = SandboxBed.Options();
        broken.Value = ByteString.CopyFrom(0x0A, 0x7F);
        await SandboxBed.Fails(StatusCode.InvalidArgument, () => _bed.CreateAsync(options: broken));
        Assert.Empty(_bed.Sandboxer.Log);

        await _bed.CreateAsync("one", new Any { TypeUrl = "somebody.Else", Value = ByteString.CopyFromUtf8("x") });
        Assert.Null(_bed.Sandboxer.Last.Spec.Pod);
        Assert.Equal("somebody.Else", _bed.Sandboxer.Last.Spec.Options!.TypeUrl);
        Assert.Equal("somebody.Else", SandboxRecordFile.Read(_bed.FolderOf("one"))!.Options.TypeUrl);
        // As of a client that gives nothing: the host's network, no options, no bundle.
        await _bed.Sandboxes.CreateSandboxAsync(new CreateSandboxRequest { SandboxId = "two" }).ResponseAsync.InTime();
        Assert.Null(_bed.Sandboxer.Last.Spec.NetworkNamespace);
        Assert.Null(_bed.Sandboxer.Last.Spec.Options);

        await SandboxBed.Fails(StatusCode.InvalidArgument, async () => await _bed.Sandboxes.CreateSandboxAsync(
            new CreateSandboxRequest { SandboxId = "three", BundlePath = "relative" }));
        await SandboxBed.Fails(StatusCode.InvalidArgument, async () => await _bed.Sandboxes.CreateSandboxAsync(
            new CreateSandboxRequest { SandboxId = "three", NetnsPath = "/a/../b" }));
        await SandboxBed.Fails(StatusCode.Unimplemented, async () => await _bed.Sandboxes.CreateSandboxAsync(
            new CreateSandboxRequest { SandboxId = "three", Rootfs = { new Mount() } }));
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.StatusAsync("three"));
    }

    [Fact]
    public async SystemTask While_it_starts_everything_that_is_known_is_answered_at_once()
    {
        var starting = new TaskCompletionSource();
        _bed.Sandboxer.OnStart = (_, _) => starting.Task;
        await _bed.CreateAsync();
        var start = _bed.StartAsync("pod");
        await Within.Until(() => _bed.Sandboxer.Log.Contains("start pod"));

        Assert.Equal("SANDBOX_NOTREADY", await _bed.StateAsync());
        Assert.Equal("linux", (await _bed.Sandboxes.PlatformAsync(new PlatformRequest { SandboxId = "pod" }).ResponseAsync.InTime()).Platform.Os);
        var wait = await _bed.BeginWaitAsync();
        await SandboxBed.Fails(StatusCode.FailedPrecondition, async () => await _bed.CreateTaskAsync("c"));
        await SandboxBed.Fails(StatusCode.FailedPrecondition, async () => await _bed.Sandboxes.PingSandboxAsync(new PingRequest { SandboxId = "pod" }));
        Assert.False(wait.IsCompleted);
        Assert.False(start.IsCompleted);

        starting.SetResult();
        await start.InTime();
        Assert.Equal("SANDBOX_READY", await _bed.StateAsync());
        await _bed.RunTaskAsync("c");
        await _bed.StopAsync();
        await wait.InTime();
    }

    [Fact]
    public async SystemTask The_task_service_answers_for_a_sandboxs_id_as_a_restarted_containerd_asks()
    {
        await _bed.RunAsync();

        var connected = await _bed.Tasks.ConnectAsync(new ConnectRequest { Id = "pod" }).ResponseAsync.InTime();
        Assert.Equal((4711u, (uint)Environment.ProcessId), (connected.TaskPid, connected.ShimPid));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Tasks.PidsAsync(new PidsRequest { Id = "pod" }));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Tasks.StateAsync(new StateRequest { Id = "pod" }));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Tasks.StatsAsync(new StatsRequest { Id = "pod" }));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Tasks.WaitAsync(new WaitRequest { Id = "pod" }));
        await SandboxBed.Fails(StatusCode.NotFound, async () => await _bed.Tasks.DeleteAsync(new DeleteRequest { Id = "pod" }));
        Assert.Equal("SANDBOX_READY", await _bed.StateAsync());
    }

    [Fact]
    public async SystemTask A_task_finds_its_sandbox_by_annotation_or_by_the_bundles_file_and_does_not_end_it()
    {
        await _bed.RunAsync();
        _bed.Sandboxer.OnCreateContainer = _ => new TestContainer();
        var annotated = """{"ociVersion":"1.0.2","annotations":{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.sandbox-id":"pod"}}""";
        // 2.3 tells the task's address in fields 11 and 12 of the request, 2.1 in runc options that are not ours to read.
        byte[] fields = [0x5A, 4, (byte)'u', (byte)':', (byte)'/', (byte)'x', 0x60, 3];
        var request = new CreateTaskRequest { Id = "a", Bundle = _bed.MakeBundle("a", annotated, "another") };
        request.MergeFrom(fields);
        Assert.Equal(fields, request.ToByteArray()[^fields.Length..]);
        await _bed.Tasks.CreateAsync(request).ResponseAsync.InTime();
        await _bed.Tasks.CreateAsync(new CreateTaskRequest { Id = "b", Bundle = _bed.MakeBundle("b", """{"ociVersion":"1.0.2"}""", "pod\n") }).ResponseAsync.InTime();
        Assert.Equal(["create pod", "start pod"], _bed.Sandboxer.Log);
        await SandboxBed.Fails(StatusCode.InvalidArgument, async () => await _bed.Tasks.CreateAsync(
            new CreateTaskRequest { Id = "c", Bundle = _bed.MakeBundle("c", """{"ociVersion":"1.0.2"}""", "../pod") }));

        foreach (var id in new[] { "a", "b" })
        {
            await _bed.Tasks.DeleteAsync(new DeleteRequest { Id = id }).ResponseAsync.InTime();
            // containerd's main does so after every task.
            await _bed.Tasks.ShutdownAsync(new ShutdownRequest { Id = id }).ResponseAsync.InTime();
            await _bed.Tasks.ShutdownAsync(new ShutdownRequest { Id = "pod", Now = true }).ResponseAsync.InTime();
        }
        Assert.Equal("SANDBOX_READY", await _bed.StateAsync());
        await _bed.RunTaskAsync("d");
    }

    [Fact]
    public async SystemTask An_authors_error_in_Ping_is_told_and_one_in_its_information_costs_only_that()
    {
        await _bed.RunAsync();
        _bed.Sandboxer.Last.OnPing = () => throw new SandboxException(SandboxError.Unavailable, "not well");
        _bed.Sandboxer.Last.OnInfo = () => throw new InvalidOperationException("the author's error");

        var error = await SandboxBed.Fails(StatusCode.Unavailable, async () => await _bed.Sandboxes.PingSandboxAsync(new PingRequest { SandboxId = "pod" }));
        Assert.Equal("not well", error.Status.Detail);
        var status = await _bed.StatusAsync(verbose: true);
        Assert.Equal("SANDBOX_READY", status.State);
        Assert.Empty(status.Info);
    }
}
