using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV3;

namespace Kuasar.EndToEnd.Tests.Input;

/// <summary>Names that are none, straight to the sandboxer: containerd itself would not let them through.</summary>
[Collection(SandboxerTests.Name)]
public sealed class IdentifierTests(TestRun run, SandboxerNode own) : SandboxerTest(run, own)
{
    public static TheoryData<string> Malformed => new("", ".", "..", "../../etc", "a/b", "/a", "a/../b", ".hidden", "a..b", "a-", "-a", "a b", "a\nb", "a\0b", "ä", new string('a', 77));

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task Malformed_ids_are_refused_by_every_method(string id)
    {
        var bundle = Bystander.Bundle;
        Func<Task>[] calls =
        [
            async () => await Tasks.CreateAsync(new CreateTaskRequest { Id = id, Bundle = bundle }, InDefault),
            async () => await Tasks.StartAsync(new StartRequest { Id = id }, InDefault),
            async () => await Tasks.StateAsync(new StateRequest { Id = id }, InDefault),
            async () => await Tasks.DeleteAsync(new DeleteRequest { Id = id }, InDefault),
            async () => await Tasks.PidsAsync(new PidsRequest { Id = id }, InDefault),
            async () => await Tasks.PauseAsync(new PauseRequest { Id = id }, InDefault),
            async () => await Tasks.ResumeAsync(new ResumeRequest { Id = id }, InDefault),
            async () => await Tasks.KillAsync(new KillRequest { Id = id, Signal = 9 }, InDefault),
            async () => await Tasks.ExecAsync(new ExecProcessRequest { Id = id, ExecId = "e" }, InDefault),
            async () => await Tasks.ResizePtyAsync(new ResizePtyRequest { Id = id }, InDefault),
            async () => await Tasks.CloseIOAsync(new CloseIORequest { Id = id, Stdin = true }, InDefault),
            async () => await Tasks.UpdateAsync(new UpdateTaskRequest { Id = id }, InDefault),
            async () => await Tasks.WaitAsync(new WaitRequest { Id = id }, InDefault),
            async () => await Tasks.StatsAsync(new StatsRequest { Id = id }, InDefault),
        ];
        foreach (var call in calls)
        {
            await FailsAsync(StatusCode.InvalidArgument, call);
        }
        await OthersAreServedAsync();
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task Malformed_exec_ids_are_refused(string id)
    {
        await FailsAsync(StatusCode.InvalidArgument, async () =>
            await Tasks.ExecAsync(new ExecProcessRequest { Id = Bystander.Id, ExecId = id, Spec = TypeUrl.PackJson(TypeUrl.OciProcess, """{"args":["true"],"cwd":"/"}"""u8) }, InDefault));
        if (id.Length > 0)
        {
            await FailsAsync(StatusCode.InvalidArgument, async () => await Tasks.StateAsync(new StateRequest { Id = Bystander.Id, ExecId = id }, InDefault));
        }
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task Malformed_namespaces_are_refused(string containerdNamespace)
    {
        await FailsAsync(StatusCode.InvalidArgument, async () => await Tasks.StateAsync(new StateRequest { Id = Bystander.Id }, In(containerdNamespace)));
    }

    [Fact]
    public async Task A_call_without_namespace_is_of_the_one_that_the_socket_was_given_for()
    {
        // containerd 1.7 sends none.
        Assert.Equal(ProcessStatus.Running, (await Tasks.StateAsync(new StateRequest { Id = Bystander.Id }, In(null))).Status);
        await FailsAsync(StatusCode.NotFound, async () => await Tasks.StateAsync(new StateRequest { Id = Bystander.Id }, In("other")));
    }

    [Theory]
    [MemberData(nameof(Malformed))]
    public async Task The_control_service_refuses_malformed_ids_and_namespaces(string id)
    {
        await using var client = await TtrpcClient.ConnectAsync(ControlSocket);
        var control = new Control.ControlClient(client);
        var containerd = new ContainerdInstance { GrpcAddress = Node.Bed.Socket, TtrpcAddress = Node.Bed.Socket + ".ttrpc" };
        await FailsAsync(StatusCode.InvalidArgument, async () =>
            await control.ResolveAsync(new ResolveRequest { Containerd = containerd, Namespace = "default", Id = id }, ContainerdClient.Options));
        await FailsAsync(StatusCode.InvalidArgument, async () =>
            await control.RemoveAsync(new RemoveRequest { Containerd = containerd, Namespace = "default", Id = id }, ContainerdClient.Options));
        await FailsAsync(StatusCode.InvalidArgument, async () =>
            await control.RemoveAsync(new RemoveRequest { Containerd = containerd, Namespace = id, Id = Bystander.Id }, ContainerdClient.Options));
        Assert.Equal(ProcessStatus.Running, (await Bystander.Init.StateAsync()).Status);
    }
}
