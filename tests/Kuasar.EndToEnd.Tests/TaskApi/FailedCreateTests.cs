using System.Text.Json.Nodes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Testing.Containerd.Tasks;

namespace Kuasar.EndToEnd.Tests.TaskApi;

/// <summary>A Create that fails says why and leaves nothing.</summary>
public sealed class FailedCreateTests(TestRun run) : NodeTest(run)
{
    [Fact]
    public async Task A_missing_executable_fails_Create_and_is_named()
    {
        var container = await NewAsync(new ContainerPlan(), "/no/such/program", "argument");
        var error = await Assert.ThrowsAsync<RpcException>(container.CreateAsync);
        Assert.Contains("/no/such/program", error.Status.Detail, StringComparison.Ordinal);
        await LeavesNothingAsync(container);
    }

    [Fact]
    public async Task A_root_file_system_of_unknown_type_fails_Create_and_is_named()
    {
        var container = await NewAsync(new ContainerPlan(), "true");
        var error = await Assert.ThrowsAsync<RpcException>(async () => await container.Client.Tasks.CreateAsync(new CreateTaskRequest
        {
            ContainerId = container.Id,
            Rootfs = { new Mount { Type = "nosuchfs", Source = "none", Options = { "ro" } } },
        }, ContainerdClient.Options));
        Assert.True(!Settings.IsOurs || error.Status.Detail.Contains("nosuchfs", StringComparison.Ordinal), error.Status.Detail);
        await LeavesNothingAsync(container);
    }

    [Fact]
    public async Task A_spec_that_runc_refuses_fails_Create_with_its_reason()
    {
        var container = await NewAsync(new ContainerPlan { Change = spec => spec["mounts"]!.AsArray().Add(NoSource()) }, "true");
        var error = await Assert.ThrowsAsync<RpcException>(container.CreateAsync);
        Assert.Contains("/no/such/folder", error.Status.Detail, StringComparison.Ordinal);
        await LeavesNothingAsync(container);

        static JsonObject NoSource() => new()
        {
            ["destination"] = "/mnt",
            ["type"] = "bind",
            ["source"] = "/no/such/folder",
            ["options"] = new JsonArray("rbind"),
        };
    }

    [Fact]
    public async Task After_a_failure_the_same_id_works()
    {
        var container = await NewAsync(new ContainerPlan(), "cat", "/late");
        await Assert.ThrowsAsync<RpcException>(async () => await container.Client.Tasks.CreateAsync(new CreateTaskRequest
        {
            ContainerId = container.Id,
            Rootfs = { new Mount { Type = "nosuchfs", Source = "none" } },
        }, ContainerdClient.Options));
        await container.CreateAsync();
        await container.Init.StartAsync();
        Assert.Equal(1u, (await container.Init.WaitAsync()).ExitStatus);
        await container.DeleteTaskAsync();
    }

    private async Task LeavesNothingAsync(TestContainer container)
    {
        await FailsAsync(StatusCode.NotFound, () => container.Init.StateAsync());
        Assert.False(Directory.Exists(container.Bundle), container.Bundle);
        Assert.Empty(Proc.MountsBelow(container.Bundle));
        var records = Path.Combine(Node.RunDirectory, "tasks");
        Assert.Empty(Directory.Exists(records) ? Directory.EnumerateDirectories(records, container.Id, SearchOption.AllDirectories) : []);
    }
}
