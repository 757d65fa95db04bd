using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Tasks;

/// <summary>Every call in every state.</summary>
public sealed class ContainerTaskStateTests : IAsyncLifetime
{
    private static readonly string[] s_states = ["created", "running", "paused", "stopped", "deleted"];

    private readonly TaskBed _bed = new();
    private readonly TestContainer _container = new();

    public ValueTask InitializeAsync() => default;

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private async Task<ContainerTask> InStateAsync(string state)
    {
        switch (state)
        {
            case "created":
                return await _bed.CreateAsync(_container);
            case "running":
                return await _bed.StartAsync(_container);
            case "paused":
                var task = await _bed.StartAsync(_container);
                await task.PauseAsync().InTime();
                return task;
            case "stopped":
                return await _bed.ExitAsync(_container);
            default:
                var deleted = await _bed.ExitAsync(_container);
                await deleted.DeleteAsync(false).InTime();
                return deleted;
        }
    }

    private static async Task CallAsync(ContainerTask task, string call)
    {
        switch (call)
        {
            case "start":
                await task.StartAsync("");
                break;
            case "pause":
                await task.PauseAsync();
                break;
            case "resume":
                await task.ResumeAsync();
                break;
            case "kill":
                await task.KillAsync("", 15, false);
                break;
            case "exec":
                task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio);
                break;
            case "update":
                await task.UpdateAsync(new Any { TypeUrl = TypeUrl.OciLinuxResources });
                break;
            case "resize":
                await task.ResizeAsync("", 80, 25);
                break;
            case "stdin":
                task.CloseStdin("");
                break;
            case "pids":
                Assert.Equal([(uint)task.Init.ProcessId], task.GetProcesses().Select(p => p.Pid).ToList());
                break;
            case "metrics":
                await task.GetMetricsAsync();
                break;
            case "delete":
                await task.DeleteAsync(false);
                break;
            default:
                await task.DeleteAsync(true);
                break;
        }
    }

    public static TheoryData<string, string, string> Calls
    {
        get
        {
            var data = new TheoryData<string, string, string>();
            Row("start", "ok", "FailedPrecondition", "FailedPrecondition", "FailedPrecondition", "FailedPrecondition");
            Row("pause", "FailedPrecondition", "ok", "FailedPrecondition", "FailedPrecondition", "FailedPrecondition");
            Row("resume", "FailedPrecondition", "FailedPrecondition", "ok", "FailedPrecondition", "FailedPrecondition");
            Row("kill", "ok", "ok", "ok", "NotFound", "NotFound");
            Row("exec", "ok", "ok", "FailedPrecondition", "FailedPrecondition", "FailedPrecondition");
            Row("update", "ok", "ok", "ok", "FailedPrecondition", "FailedPrecondition");
            Row("resize", "ok", "ok", "ok", "FailedPrecondition", "FailedPrecondition");
            Row("stdin", "ok", "ok", "ok", "ok", "ok");
            Row("pids", "ok", "ok", "ok", "ok", "NotFound");
            Row("metrics", "ok", "ok", "ok", "ok", "ok");
            Row("delete", "ok", "FailedPrecondition", "FailedPrecondition", "ok", "NotFound");
            Row("force", "ok", "ok", "ok", "ok", "NotFound");
            return data;

            void Row(string call, params string[] results)
            {
                for (var i = 0; i < results.Length; i++)
                {
                    data.Add(call, s_states[i], results[i]);
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task Init(string call, string state, string result)
    {
        var task = await InStateAsync(state);
        if (result == "ok")
        {
            await CallAsync(task, call).InTime();
        }
        else
        {
            await Within.Fails(System.Enum.Parse<SandboxError>(result), () => CallAsync(task, call));
        }
    }

    [Fact]
    public async Task An_exec_in_each_of_its_states()
    {
        var task = await _bed.StartAsync(_container);
        await Within.Fails(SandboxError.NotFound, () => task.StartAsync("e"));
        await Within.Fails(SandboxError.NotFound, () => task.DeleteExecAsync("e"));
        await Within.Fails(SandboxError.NotFound, () => task.KillAsync("e", 9, false));

        task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio);
        Assert.Equal(SandboxError.AlreadyExists, Assert.Throws<SandboxException>(() => task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio)).Error);
        await Within.Fails(SandboxError.FailedPrecondition, () => task.KillAsync("e", 9, false));

        var pid = await task.StartAsync("e").InTime();
        Assert.Equal(_container.Execs[0].ProcessId, pid);
        await Within.Fails(SandboxError.FailedPrecondition, () => task.StartAsync("e"));
        await Within.Fails(SandboxError.FailedPrecondition, () => task.DeleteExecAsync("e"));
        await task.PauseAsync().InTime();
        Assert.Equal(ProcessState.Paused, task.StateOf(task.Find("e")));
        await task.ResumeAsync().InTime();
        Assert.Equal(ProcessState.Running, task.StateOf(task.Find("e")));

        await task.KillAsync("e", 15, false).InTime();
        Assert.Equal(128u + 15, (await task.Find("e").Exit.InTime()).Code);
        await Within.Fails(SandboxError.NotFound, () => task.KillAsync("e", 9, false));
        await Within.Fails(SandboxError.FailedPrecondition, () => task.StartAsync("e"));

        var (deletedPid, exit) = await task.DeleteExecAsync("e").InTime();
        Assert.Equal((pid, 128u + 15), (deletedPid, exit!.Value.Code));
        Assert.Equal(1, _container.Execs[0].Deletes);
        await Within.Fails(SandboxError.NotFound, () => task.DeleteExecAsync("e"));
        // Its id is free again at once.
        task.AddExec("e", TaskBed.ExecSpec, TaskBed.NoStdio);
        await task.StartAsync("e").InTime();
    }

    [Theory]
    [InlineData("")]
    [InlineData("no json")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"args":"true"}""")]
    [InlineData("""{"args":[],"args":[]}""")]
    public async Task An_execs_spec_must_be_an_oci_process(string json)
    {
        var task = await _bed.StartAsync(_container);
        var spec = new Any { Value = Google.Protobuf.ByteString.CopyFromUtf8(json) };

        Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => task.AddExec("e", spec, TaskBed.NoStdio)).Error);
        Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => task.AddExec("e", null, TaskBed.NoStdio)).Error);
        Assert.Throws<SandboxException>(() => task.Find("e"));
    }

    [Fact]
    public async Task Kill_of_a_paused_task_lets_it_run_to_its_end()
    {
        _container.Mortal = false;
        var task = await InStateAsync("paused");

        await task.KillAsync("", 9, false).InTime();

        Assert.Equal(ProcessState.Running, task.Init.State);
        _container.Exit(137);
        Assert.Equal(137u, (await task.Init.Exit.InTime()).Code);
        Assert.Equal("paused exit", await _bed.Containerd.NextTopicsAsync(2));
    }
}
