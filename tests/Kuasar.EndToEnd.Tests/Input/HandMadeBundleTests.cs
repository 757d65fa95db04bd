using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.EndToEnd.Tests.Input;

/// <summary>Tasks made straight by ttrpc, from bundles that containerd would not have written.</summary>
[Collection(SandboxerTests.Name)]
public sealed class HandMadeBundleTests(TestRun run, SandboxerNode own) : SandboxerTest(run, own)
{
    [Fact]
    public async Task A_task_made_straight_by_ttrpc_runs()
    {
        // For its root file system.
        var container = await NewAsync(new ContainerPlan(), "true");
        var mounts = await container.Client.Snapshots.MountsAsync(new() { Snapshotter = Node.Bed.Snapshotter, Key = container.Id }, ContainerdClient.Options);
        var bundle = Bundle(OciSpec.Container("input", container.Id, "sh", "-c", "exit 5").ToJsonString());

        var request = new CreateTaskRequest { Id = container.Id, Bundle = bundle, Rootfs = { mounts.Mounts } };
        var pid = (await Tasks.CreateAsync(request, InDefault)).Pid;
        Assert.Equal(pid, (await Tasks.ConnectAsync(new ConnectRequest { Id = container.Id }, InDefault)).TaskPid);
        Assert.Equal(pid, Assert.Single((await Tasks.PidsAsync(new PidsRequest { Id = container.Id }, InDefault)).Processes).Pid);
        await FailsAsync(StatusCode.AlreadyExists, async () => await Tasks.CreateAsync(request, InDefault));
        Assert.Equal(pid, (await Tasks.StartAsync(new StartRequest { Id = container.Id }, InDefault)).Pid);
        Assert.Equal(5u, (await Tasks.WaitAsync(new WaitRequest { Id = container.Id }, InDefault)).ExitStatus);
        var state = await Tasks.StateAsync(new StateRequest { Id = container.Id }, InDefault);
        Assert.Equal((bundle, ProcessStatus.Stopped, 5u, pid), (state.Bundle, state.Status, state.ExitStatus, state.Pid));
        var deleted = await Tasks.DeleteAsync(new DeleteRequest { Id = container.Id }, InDefault);
        Assert.Equal((pid, 5u), (deleted.Pid, deleted.ExitStatus));
        await FailsAsync(StatusCode.NotFound, async () => await Tasks.DeleteAsync(new DeleteRequest { Id = container.Id }, InDefault));
        Assert.Empty(Proc.MountsBelow(bundle));
    }

    // The task's address is in fields 11 and 12 of the request from 2.3.1 on, should they come as far; before, in runc's options 12 and 13.
    // From 2.3 on Shutdown follows each Delete, though the sandboxer has other tasks.
    [Fact]
    public async Task What_later_versions_of_containerd_send_is_understood_or_ignored()
    {
        var container = await NewAsync(new ContainerPlan(), "true");
        var mounts = await container.Client.Snapshots.MountsAsync(new() { Snapshotter = Node.Bed.Snapshotter, Key = container.Id }, ContainerdClient.Options);
        var bundle = Bundle(OciSpec.Container("input", container.Id, "sh", "-c", "exit 6").ToJsonString());
        byte[] address = [.. "unix:///run/other.sock"u8];
        var request = new CreateTaskRequest
        {
            Id = container.Id,
            Bundle = bundle,
            Rootfs = { mounts.Mounts },
            Options = new Any { TypeUrl = "containerd.runc.v1.Options", Value = ByteString.CopyFrom(AddressFields(12)) },
        };
        request.MergeFrom(AddressFields(11));

        await Tasks.CreateAsync(request, InDefault);
        await Tasks.StartAsync(new StartRequest { Id = container.Id }, InDefault);
        Assert.Equal(6u, (await Tasks.WaitAsync(new WaitRequest { Id = container.Id }, InDefault)).ExitStatus);
        await Tasks.DeleteAsync(new DeleteRequest { Id = container.Id }, InDefault);
        await Tasks.ShutdownAsync(new ShutdownRequest { Id = container.Id, Now = true }, InDefault);

        await OthersAreServedAsync();

        // A text and a number, the number's field being the next.
        byte[] AddressFields(int field) =>
            [(byte)(field << 3 | 2), (byte)address.Length, .. address, (byte)((field + 1) << 3), 3];
    }

    [Fact]
    public async Task Of_an_unknown_id_Connect_and_Shutdown_are_answered_and_nothing_else()
    {
        const string id = "nobody";
        var connect = await Tasks.ConnectAsync(new ConnectRequest { Id = id }, InDefault);
        Assert.Equal(((uint)Node.Sandboxer!.ServingProcessId, 0u), (connect.ShimPid, connect.TaskPid));
        await Tasks.ShutdownAsync(new ShutdownRequest { Id = id }, InDefault);
        Func<Task>[] calls =
        [
            async () => await Tasks.StartAsync(new StartRequest { Id = id }, InDefault),
            async () => await Tasks.StateAsync(new StateRequest { Id = id }, InDefault),
            async () => await Tasks.DeleteAsync(new DeleteRequest { Id = id }, InDefault),
            async () => await Tasks.PidsAsync(new PidsRequest { Id = id }, InDefault),
            async () => await Tasks.PauseAsync(new PauseRequest { Id = id }, InDefault),
            async () => await Tasks.KillAsync(new KillRequest { Id = id, Signal = 9 }, InDefault),
            async () => await Tasks.ExecAsync(new ExecProcessRequest { Id = id, ExecId = "e" }, InDefault),
            async () => await Tasks.WaitAsync(new WaitRequest { Id = id }, InDefault),
            async () => await Tasks.StatsAsync(new StatsRequest { Id = id }, InDefault),
        ];
        foreach (var call in calls)
        {
            await FailsAsync(StatusCode.NotFound, call);
        }
        await OthersAreServedAsync();
    }

    [Theory]
    [InlineData(null, StatusCode.NotFound)]
    [InlineData("", StatusCode.InvalidArgument)]
    [InlineData("{ \"ociVersion\": ", StatusCode.InvalidArgument)]
    [InlineData("[]", StatusCode.InvalidArgument)]
    [InlineData("{}", StatusCode.InvalidArgument)]
    [InlineData("\u0000\u0001\u0002", StatusCode.InvalidArgument)]
    public async Task A_bundle_without_a_proper_config_is_refused_and_the_file_named(string? config, StatusCode expected)
    {
        var bundle = Bundle(config);
        var error = await FailsAsync(expected, async () => await Tasks.CreateAsync(new CreateTaskRequest { Id = Path.GetFileName(bundle), Bundle = bundle }, InDefault));
        Assert.Contains("config.json", error.Status.Detail, StringComparison.Ordinal);
        await NothingOfAsync(bundle);
    }

    [Theory]
    [InlineData("""{"ociVersion":"1.0.2"}""")]
    [InlineData("""{"ociVersion":"1.0.2","process":{"args":[],"cwd":"/"},"root":{"path":"rootfs"}}""")]
    [InlineData("""{"ociVersion":"1.0.2","process":"sh","root":7,"linux":[],"annotations":[]}""")]
    public async Task A_config_that_the_runtime_refuses_fails_Create(string config)
    {
        var bundle = Bundle(config);
        await Assert.ThrowsAsync<RpcException>(async () => await Tasks.CreateAsync(new CreateTaskRequest { Id = Path.GetFileName(bundle), Bundle = bundle }, InDefault));
        await NothingOfAsync(bundle);
    }

    [Theory]
    [InlineData("")]
    [InlineData("relative/bundle")]
    [InlineData("/run/../run/kuasar-e2e")]
    [InlineData("/no/such/bundle")]
    public async Task A_bundle_that_is_no_folder_is_refused(string bundle)
    {
        var error = await Assert.ThrowsAsync<RpcException>(async () => await Tasks.CreateAsync(new CreateTaskRequest { Id = "nofolder", Bundle = bundle }, InDefault));
        Assert.True(error.StatusCode is StatusCode.InvalidArgument or StatusCode.NotFound, error.Status.ToString());
        await OthersAreServedAsync();
    }

    [Fact]
    public async Task A_mount_of_unknown_type_is_named_and_those_before_it_are_undone()
    {
        var bundle = Bundle(OciSpec.Container("input", "mount", "true").ToJsonString());
        var error = await Assert.ThrowsAsync<RpcException>(async () => await Tasks.CreateAsync(new CreateTaskRequest
        {
            Id = Path.GetFileName(bundle),
            Bundle = bundle,
            Rootfs =
            {
                new Mount { Type = "tmpfs", Source = "tmpfs" },
                new Mount { Type = "nosuchfs", Source = "none" },
            },
        }, InDefault));
        Assert.Contains("nosuchfs", error.Status.Detail, StringComparison.Ordinal);
        await NothingOfAsync(bundle);
    }

    [Fact]
    public async Task A_hundred_creates_of_one_id_at_once_make_one_task_or_none()
    {
        var bundle = Bundle(OciSpec.Container("input", "race", "/no/such/program").ToJsonString());
        var request = new CreateTaskRequest { Id = Path.GetFileName(bundle), Bundle = bundle };
        var results = await Task.WhenAll(Enumerable.Range(0, 100).Select(async _ =>
            (await Assert.ThrowsAsync<RpcException>(async () => await Tasks.CreateAsync(request, InDefault))).StatusCode));
        Assert.Contains(StatusCode.AlreadyExists, results);
        Assert.Contains(results, code => code != StatusCode.AlreadyExists);
        await NothingOfAsync(bundle);
    }

    private string Bundle(string? config)
    {
        var bundle = Path.Combine(Node.Bed.Run, "bundles", TestContainer.NewId("b"));
        Directory.CreateDirectory(Path.Combine(bundle, "rootfs"));
        if (config is not null)
        {
            File.WriteAllText(Path.Combine(bundle, "config.json"), config);
        }
        return bundle;
    }

    private async Task NothingOfAsync(string bundle)
    {
        var id = Path.GetFileName(bundle);
        await FailsAsync(StatusCode.NotFound, async () => await Tasks.StateAsync(new StateRequest { Id = id }, InDefault));
        Assert.Empty(Proc.MountsBelow(bundle));
        Assert.Empty(Directory.EnumerateDirectories(Path.Combine(Node.RunDirectory, "tasks"), id, SearchOption.AllDirectories));
        await OthersAreServedAsync();
    }
}
