using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Runc;
using Kuasar.Testing.Containerd.Containers;
using Kuasar.Testing.Containerd.Snapshots;
using Kuasar.Testing.Containerd.Tasks;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>How a container is made.</summary>
internal sealed record ContainerPlan
{
    /// <summary>Null for one that no other has.</summary>
    internal string? Id { get; init; }

    internal bool Terminal { get; init; }

    internal bool Stdin { get; init; }

    internal string Runtime { get; init; } = Settings.Runtime;

    /// <summary>The pod that it belongs to, if any.</summary>
    internal string SandboxId { get; init; } = "";

    /// <summary>What differs from the usual spec.</summary>
    internal Action<JsonObject>? Change { get; init; }
}

/// <summary>A container and its task, made call by call as a client of containerd makes them.</summary>
internal sealed class TestContainer : IAsyncDisposable
{
    private static int s_count;
    private readonly string _snapshotter;
    private readonly List<TestProcess> _execs = [];

    private TestContainer(Node node, ContainerdClient client, string id, string snapshotter, ContainerPlan plan)
    {
        Node = node;
        Client = client;
        Id = id;
        _snapshotter = snapshotter;
        Init = new TestProcess(this, "", plan.Terminal, plan.Stdin);
    }

    internal Node Node { get; }

    internal ContainerdClient Client { get; }

    internal string Id { get; }

    internal TestProcess Init { get; }

    internal uint Pid { get; private set; }

    internal string Bundle => Node.Bed.Bundle(Client.Namespace, Id);

    /// <summary>Its fifos.</summary>
    internal string StdioFolder => Path.Combine(Node.Bed.Run, "io", Client.Namespace, Id);

    internal static string NewId(string what) =>
        string.Create(CultureInfo.InvariantCulture, $"{what}-{Interlocked.Increment(ref s_count)}");

    /// <summary>The container's record and root file system; no task yet.</summary>
    internal static async Task<TestContainer> NewAsync(Node node, ContainerdClient client, ContainerPlan plan, params string[] arguments)
    {
        var id = plan.Id ?? NewId("c");
        var container = new TestContainer(node, client, id, node.Bed.Snapshotter, plan);
        await client.Snapshots.PrepareAsync(new PrepareSnapshotRequest
        {
            Snapshotter = container._snapshotter,
            Key = id,
            Parent = await BusyboxImage.LayerAsync(node.Bed.Folder),
            Labels = { ["containerd.io/gc.root"] = "e2e" },
        }, ContainerdClient.Options);
        var spec = OciSpec.Container($"{Path.GetFileName(node.Bed.Folder)}-{client.Namespace}", id, arguments);
        spec["process"]!["terminal"] = plan.Terminal;
        plan.Change?.Invoke(spec);
        await client.Containers.CreateAsync(new CreateContainerRequest
        {
            Container = new Container
            {
                Id = id,
                Image = BusyboxImage.Name,
                Runtime = new Container.Types.Runtime { Name = plan.Runtime },
                Snapshotter = container._snapshotter,
                SnapshotKey = id,
                Sandbox = plan.SandboxId,
                Spec = TypeUrl.PackJson(TypeUrl.OciSpec, Encoding.UTF8.GetBytes(spec.ToJsonString())),
            },
        }, ContainerdClient.Options);
        return container;
    }

    /// <summary>Tasks.Create.</summary>
    internal async Task CreateAsync()
    {
        if (Init.Stdout.Length == 0 || !Init.ReadLater)
        {
            Init.MakeFifos();
        }
        var mounts = await Client.Snapshots.MountsAsync(new MountsRequest { Snapshotter = _snapshotter, Key = Id }, ContainerdClient.Options);
        var request = new CreateTaskRequest
        {
            ContainerId = Id,
            Rootfs = { mounts.Mounts },
            Stdin = Init.Stdin,
            Stdout = Init.Stdout,
            Stderr = Init.Stderr,
            Terminal = Init.Terminal,
            // Ours has its own settings; the stock one would take any runc it finds, and keep its state in the host's folder.
            Options = Settings.IsOurs ? null : TypeUrl.Pack(new Options { BinaryName = Node.Bed.Runc, Root = Path.Combine(Node.Bed.Run, "runc") }),
        };
        Pid = (await Client.Tasks.CreateAsync(request, ContainerdClient.Options)).Pid;
        Init.Pid = Pid;
    }

    /// <summary>An exec, added; not started.</summary>
    internal async Task<TestProcess> AddExecAsync(string execId, ExecPlan plan, params string[] arguments)
    {
        var exec = new TestProcess(this, execId, plan.Terminal, plan.Stdin);
        _execs.Add(exec);
        exec.MakeFifos();
        await Client.Tasks.ExecAsync(exec.ExecRequest(arguments), ContainerdClient.Options);
        return exec;
    }

    /// <summary>An exec that runs.</summary>
    internal async Task<TestProcess> ExecAsync(string execId, params string[] arguments)
    {
        var exec = await AddExecAsync(execId, new ExecPlan(), arguments);
        await exec.StartAsync();
        return exec;
    }

    /// <summary>Runs an exec to its end: its output and exit code.</summary>
    internal async Task<(string Output, uint ExitCode)> RunAsync(params string[] arguments)
    {
        var exec = await ExecAsync(NewId("e"), arguments);
        var exit = await exec.WaitAsync();
        var output = await exec.Output.ToEndAsync();
        await exec.DeleteAsync();
        return (output, exit.ExitStatus);
    }

    /// <summary>Tasks.Delete.</summary>
    internal async Task<DeleteResponse> DeleteTaskAsync() =>
        await Client.Tasks.DeleteAsync(new DeleteTaskRequest { ContainerId = Id }, ContainerdClient.Options);

    /// <summary>KILL, Wait, Delete.</summary>
    internal async Task<DeleteResponse> EndAsync()
    {
        await Init.KillAsync(9);
        await Init.WaitAsync();
        return await DeleteTaskAsync();
    }

    internal async Task<Kuasar.Protocol.Contracts.Types.Metric> MetricsAsync()
    {
        var response = await Client.Tasks.MetricsAsync(new MetricsRequest { Filters = { $"id=={Id}" } }, ContainerdClient.Options);
        return Assert.Single(response.Metrics);
    }

    internal async Task UpdateAsync(JsonObject resources) => await Client.Tasks.UpdateAsync(new UpdateTaskRequest
    {
        ContainerId = Id,
        Resources = TypeUrl.PackJson(TypeUrl.OciLinuxResources, Encoding.UTF8.GetBytes(resources.ToJsonString())),
    }, ContainerdClient.Options);

    /// <summary>Everything away, however far the test came.</summary>
    public async ValueTask DisposeAsync()
    {
        await TryAsync(() => Init.KillAsync(9));
        if (Pid != 0)
        {
            await TryAsync(async () => await Init.WaitAsync());
        }
        await TryAsync(async () => await DeleteTaskAsync());
        await TryAsync(async () => await Client.Containers.DeleteAsync(new DeleteContainerRequest { Id = Id }, ContainerdClient.Options));
        await TryAsync(async () => await Client.Snapshots.RemoveAsync(new RemoveSnapshotRequest { Snapshotter = _snapshotter, Key = Id }, ContainerdClient.Options));
        await Init.DisposeAsync();
        foreach (var exec in _execs)
        {
            await exec.DisposeAsync();
        }
        if (Directory.Exists(StdioFolder))
        {
            Directory.Delete(StdioFolder, recursive: true);
        }
    }

    private static async Task TryAsync(Func<Task> call)
    {
        try
        {
            await call();
        }
        catch (Exception e) when (e is RpcException or TimeoutException)
        {
            // Gone already, which is what is wanted.
        }
    }
}
