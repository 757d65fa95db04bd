using System.Collections.Concurrent;
using System.Globalization;
using Grpc.Core;
using Kuasar.EndToEnd.Tests.Pods;
using Kuasar.Protocol.Contracts.Cri;
using Kuasar.Testing.Cri;
using Kuasar.Testing.Containerd.Tasks;

namespace Kuasar.EndToEnd.Tests.Continuity;

/// <summary>
/// What a node does while its sandboxer is killed or replaced: pods of all routes, each with a container that writes; a terminal; a container
/// that ends and is made again; an exec again and again; clients that wait for ends. It keeps an account of what was not as it should be.
/// </summary>
internal sealed class BusyNode : IAsyncDisposable
{
    /// <summary>Counts to its output, and ends as it is told. All together do not do it more than sixty times a second.</summary>
    private readonly string _counting;

    private static readonly string[] s_handlers = ["kuasar-runc", "kuasar-runc-shim", "kuasar-runc-proxy"];

    private readonly Node _node;
    private readonly ContainerdClient _cri;
    private readonly List<(Pod Pod, uint Pid)> _pods = [];
    private readonly List<(string Id, Task<WaitResponse> Wait)> _waits = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<string> _problems = [];
    private readonly List<Task> _loops = [];
    private TestContainer _terminal = null!;
    private TestContainer _execHost = null!;
    private int _podCount, _ends, _execs, _unavailable;
    private long _pause;

    private BusyNode(Node node, int pods)
    {
        var pause = Math.Max(0.5, pods / 60.0).ToString("0.0", CultureInfo.InvariantCulture);
        _counting = $"trap 'exit 42' TERM; i=0; while :; do echo line $i; i=$((i+1)); sleep {pause} & wait $!; done";
        _node = node;
        _cri = new ContainerdClient(node.Bed.Socket, "k8s.io");
    }

    /// <summary>Whether a call other than a wait or a read may fail with Unavailable: while the sandboxer dies, not while it is replaced.</summary>
    internal bool MayBeUnavailable { get; set; } = true;

    /// <summary>The longest that a State call has taken since this was last asked.</summary>
    internal TimeSpan TakePause() => TimeSpan.FromTicks(Interlocked.Exchange(ref _pause, 0));

    internal string Summary => string.Create(CultureInfo.InvariantCulture,
        $"{_podCount} pods; {_ends} ends of a container and {_execs} execs seen with their true codes; {_unavailable} calls Unavailable");

    internal static async Task<BusyNode> StartAsync(Node node, int pods, Func<ContainerPlan, string[], Task<TestContainer>> start)
    {
        var busy = new BusyNode(node, pods);
        try
        {
            for (var i = 0; i < pods; i++)
            {
                await busy.AddPodAsync(i);
            }
            busy._terminal = await start(new ContainerPlan { Terminal = true }, ["sh", "-c", busy._counting]);
            busy._execHost = await start(new ContainerPlan(), ["sleep", "3600"]);
            busy.AddWait(node.Client, busy._terminal.Id);
            busy.AddWait(node.Client, busy._execHost.Id);
            busy._loops.Add(busy.LoopAsync(i => busy.EndAndMakeAgainAsync(i, start)));
            busy._loops.Add(busy.LoopAsync(busy.ExecAsync));
            busy._loops.Add(busy.LoopAsync(busy.ProbeAsync));
            return busy;
        }
        catch
        {
            await busy.DisposeAsync();
            throw;
        }
    }

    private async Task AddPodAsync(int i)
    {
        var pod = await Pod.RunAsync(_node, TestContainer.NewId("busy"), s_handlers[i % s_handlers.Length]);
        await pod.StartContainerAsync(null, "sh", "-c", _counting);
        var pids = await _cri.Tasks.ListPidsAsync(new ListPidsRequest { ContainerId = pod.ContainerId }, ContainerdClient.Options);
        _pods.Add((pod, pids.Processes[0].Pid));
        AddWait(_cri, pod.ContainerId);
        _podCount++;
    }

    private void AddWait(ContainerdClient client, string id) =>
        _waits.Add((id, client.Tasks.WaitAsync(new WaitRequest { ContainerId = id }, ContainerdClient.Bound(TimeSpan.FromHours(3))).ResponseAsync));

    private async Task LoopAsync(Func<int, Task> turn)
    {
        for (var i = 0; !_stop.IsCancellationRequested; i++)
        {
            try
            {
                await turn(i);
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable && MayBeUnavailable)
            {
                Interlocked.Increment(ref _unavailable);
            }
#pragma warning disable CA1031 // told at the end
            catch (Exception e)
#pragma warning restore CA1031
            {
                _problems.Enqueue($"{turn.Method.Name}: {e.Message}");
            }
        }
    }

    private async Task EndAndMakeAgainAsync(int i, Func<ContainerPlan, string[], Task<TestContainer>> start)
    {
        var code = (uint)(1 + (i % 200));
        var container = await start(new ContainerPlan(), ["sh", "-c", $"sleep 1; echo bye; exit {code}"]);
        var exit = (await container.Init.WaitAsync()).ExitStatus;
        if (exit != code)
        {
            _problems.Enqueue($"container {container.Id} ended with {code}, and {exit} was told");
        }
        if (await container.Init.Output.ToEndAsync() is var output && output != "bye\n")
        {
            _problems.Enqueue($"container {container.Id} wrote \"bye\", and \"{output}\" came");
        }
        _ends++;
        await container.DeleteTaskAsync();
    }

    private async Task ExecAsync(int i)
    {
        var code = (uint)(i % 200);
        var (output, exit) = await _execHost.RunAsync("sh", "-c", $"echo {i}; exit {code}");
        if (exit != code || output != $"{i}\n")
        {
            _problems.Enqueue($"exec {i} wrote \"{output}\" and ended with {exit}");
        }
        _execs++;
    }

    private async Task ProbeAsync(int i)
    {
        var from = System.Diagnostics.Stopwatch.GetTimestamp();
        await _execHost.Init.StateAsync();
        var took = System.Diagnostics.Stopwatch.GetElapsedTime(from).Ticks;
        if (took > Volatile.Read(ref _pause))
        {
            Volatile.Write(ref _pause, took);
        }
        await Task.Delay(5);
    }

    /// <summary>Nothing has changed for any pod, task or waiting client, and nothing that was told is untrue.</summary>
    internal async Task AssertUnharmedAsync()
    {
        foreach (var (pod, pid) in _pods)
        {
            Assert.Equal(PodSandboxState.SandboxReady, await StateAsync(pod));
            Assert.Equal(ContainerState.ContainerRunning, (await pod.ContainerStatusAsync()).State);
            Assert.True(Proc.Runs((int)pid), $"the container of pod {pod.Id} has ended");
        }
        foreach (var (id, wait) in _waits)
        {
            Assert.False(wait.IsCompleted, $"the wait for {id} has ended: {(wait.IsFaulted ? wait.Exception.InnerException!.Message : wait.IsCompletedSuccessfully ? wait.Result.ExitStatus : "")}");
        }
        foreach (var line in LostLines())
        {
            _problems.Enqueue(line);
        }
        Assert.True(_problems.IsEmpty, string.Join('\n', _problems.Distinct()));
    }

    /// <summary>A controller that is asked by gRPC answers Unavailable while there is none; kubelets ask again.</summary>
    private async Task<PodSandboxState> StateAsync(Pod pod)
    {
        PodSandboxState? state = null;
        await Within.UntilAsync(async () =>
        {
            try
            {
                state = await pod.StateAsync();
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable && MayBeUnavailable)
            {
                Interlocked.Increment(ref _unavailable);
            }
            return state is not null;
        }, what: "the pod's state");
        return state!.Value;
    }

    /// <summary>Ends it all, and looks at what only the end shows: codes for those who have waited all along, and that no output is missing.</summary>
    internal async Task FinishAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_loops).BoundAsync();
        await AssertUnharmedAsync();
        await _terminal.Init.Output.UntilAsync("line 3");
        foreach (var (pod, _) in _pods)
        {
            await _cri.Tasks.KillAsync(new KillRequest { ContainerId = pod.ContainerId, Signal = 15 }, ContainerdClient.Options);
        }
        await _terminal.Init.KillAsync(15);
        await _execHost.Init.KillAsync(9);
        foreach (var (id, wait) in _waits)
        {
            Assert.Equal(id == _execHost.Id ? 137u : 42u, (await wait.BoundAsync(what: $"the end of {id}")).ExitStatus);
        }
        AssertComplete(await _terminal.Init.Output.ToEndAsync(), "the terminal");
        foreach (var (pod, _) in _pods)
        {
            Assert.Equal(42, (await pod.UntilExitedAsync()).ExitCode);
            AssertComplete((await pod.LogAsync()).Replace("stdout F ", "", StringComparison.Ordinal), $"pod {pod.Id}");
            await pod.StopAsync();
            await pod.RemoveAsync();
        }
        _pods.Clear();
    }

    private static void AssertComplete(string output, string whose)
    {
        var lines = output.ReplaceLineEndings("\n").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.True(lines.SequenceEqual(Enumerable.Range(0, lines.Length).Select(i => $"line {i}")), $"the output of {whose} is not complete:\n{output}");
    }

    // containerd says the same of a task that was deleted as it should be, so only for those that were not.
    private IEnumerable<string> LostLines()
    {
        string[] ids = [.. _waits.Select(w => w.Id), .. _pods.Select(p => p.Pod.Id)];
        using var log = new StreamReader(new FileStream(_node.Bed.Log, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        while (log.ReadLine() is { } line)
        {
            if ((line.Contains("shim disconnected", StringComparison.Ordinal) || line.Contains("cleaning up dead shim", StringComparison.Ordinal))
                && ids.Any(id => line.Contains($"id={id} ", StringComparison.Ordinal)))
            {
                yield return line;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_loops).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        foreach (var (pod, _) in _pods)
        {
            await pod.DisposeAsync();
        }
        _cri.Dispose();
        _stop.Dispose();
    }
}
