using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using CrashingSandboxer;
using Grpc.Core;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using SystemTask = System.Threading.Tasks.Task;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>
/// A sandboxer in a process of its own is killed before each system call by which it changes the world, or has it changed: each write of a
/// record, each step of a creation, a start, an exec, a kill, a deletion, a stop. The next life must find the world consistent: what was
/// answered holds, what was not is done or undone, nothing is left, nothing that lives is harmed.
/// </summary>
public sealed class CrashTests
{
    /// <summary>Every so many steps one is killed at. 1, for all of them, takes some minutes.</summary>
    private static int Every => int.Parse(Environment.GetEnvironmentVariable("KUASAR_CRASH_EVERY") ?? "7", CultureInfo.InvariantCulture);

    private static void RequireX64()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64)
        {
            Assert.Skip("the filter of system calls is written for x86-64");
        }
    }

    [Fact]
    public async SystemTask Killed_once_more_while_it_takes_over_the_next_life_finds_a_consistent_world_all_the_same()
    {
        RequireX64();
        var steps = new List<string>();
        for (var at = 5; at < 150; at += 5 * Every)
        {
            for (var again = 1; await RunAsync(at, inPod: true, again) is { } killedBefore; again += Math.Min(Every, 4))
            {
                steps.Add(string.Create(CultureInfo.InvariantCulture, $"{at}, {again}: {killedBefore}"));
            }
        }
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', steps));
        Assert.NotEmpty(steps);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async SystemTask Whatever_step_it_is_killed_at_the_next_life_finds_a_consistent_world(bool inPod)
    {
        RequireX64();
        var steps = new List<string>();
        for (var at = 1; await RunAsync(at, inPod) is { } killedBefore; at += Every)
        {
            steps.Add(string.Create(CultureInfo.InvariantCulture, $"{at}: {killedBefore}"));
        }
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', steps));
        // As many as there are at least: a filter that catches nothing would prove nothing.
        Assert.True(steps.Count * Every > 60, $"only {steps.Count} steps were seen");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async SystemTask Behind_a_keeper_the_same_connection_goes_on_to_a_consistent_world(bool inPod)
    {
        RequireX64();
        var steps = new List<string>();
        for (var at = 1; await RunKeptAsync(at, inPod) is { } killedBefore; at += Every)
        {
            steps.Add(string.Create(CultureInfo.InvariantCulture, $"{at}: {killedBefore}"));
        }
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', steps));
        Assert.True(steps.Count * Every > 60, $"only {steps.Count} steps were seen");
    }

    /// <summary>What the sandboxer was about to do when it was killed and its keeper started another; null when it came to its end.</summary>
    private static async Task<string?> RunKeptAsync(int at, bool inPod)
    {
        await using var bed = RecoveryBed.Make();
        bed.Bed.Containerd.Start();
        using var first = KilledLife.StartKept(bed);
        await ConnectAsync(bed);
        var bystander = await bed.RunAsync("bystander");
        var waiting = bed.WaitAsync("bystander");
        var story = new Story(bed, inPod ? "pod" : null) { IsKept = true };
        first.Gate.KillAt(at);
        try
        {
            await story.TellAsync();
        }
        catch (RpcException e) when (first.Gate.KilledBefore is not null && e.StatusCode == StatusCode.Unavailable)
        {
            // An act that was under way.
            Assert.NotEqual("create", story.Attempted);
        }
        // What comes now is no part of the story.
        first.Gate.KillAt(0);
        try
        {
            Assert.Equal((Status.Running, (uint)bystander), ((await bed.StateAsync("bystander")).Status, (await bed.StateAsync("bystander")).Pid));
            await story.CheckAsync();
            await bed.RemoveAsync("one");
            await bed.RemoveAsync("pod");
            await bed.AssertNothingLeftButAsync("bystander");
            Assert.False(waiting.IsCompleted);
            await bed.KillAsync("bystander");
            Assert.Equal(137u, (await waiting).ExitStatus);
            await bed.DeleteAsync("bystander");
            await bed.AssertNothingLeftButAsync();
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"killed at {at}, before {first.Gate.KilledBefore}; answered: {string.Join(", ", story.Answered)}", e);
        }
        await bed.Bed.DisconnectAsync();
        return first.Gate.KilledBefore;
    }

    /// <summary>One life, and the next; what the first was about to do when it was killed, null when it came to its end.</summary>
    /// <param name="at">At which step of the story the first is killed.</param>
    /// <param name="inPod">Whether the story's container is in a pod.</param>
    /// <param name="again">At which step of its recovery a second is killed, of which then is told; 0: there is no such one.</param>
    private static async Task<string?> RunAsync(int at, bool inPod, int again = 0)
    {
        await using var bed = RecoveryBed.Make();
        bed.Bed.Containerd.Start();
        using var first = KilledLife.Start(bed);
        await ConnectAsync(bed);
        var bystander = await bed.RunAsync("bystander");
        var story = new Story(bed, inPod ? "pod" : null);
        first.Gate.KillAt(at);
        try
        {
            await story.TellAsync();
        }
        catch (RpcException e) when (first.Gate.KilledBefore is not null || e.StatusCode == StatusCode.Unavailable)
        {
            // Nobody answers any more.
        }
        first.End();
        await bed.Bed.DisconnectAsync();
        using var second = again > 0 ? KilledLife.Start(bed, again) : null;
        if (second is not null)
        {
            // Its tasks are there when it answers for the last of them.
            await EndsOrServesAsync(bed, second);
        }
        try
        {
            await bed.Bed.BeginAsync();
            Assert.Equal((Status.Running, (uint)bystander), ((await bed.StateAsync("bystander")).Status, (await bed.StateAsync("bystander")).Pid));
            await story.CheckAsync();
            await bed.RemoveAsync("one");
            await bed.RemoveAsync("pod");
            await bed.AssertNothingLeftButAsync("bystander");
            await bed.RunPodAsync();
            await bed.RunAsync(pod: "pod");
            await bed.Bed.ShutdownAsync();
            await bed.AssertNothingLeftButAsync("bystander");
        }
        catch (Exception e)
        {
            throw new InvalidOperationException(
                $"killed at {at} and {again}, before {first.Gate.KilledBefore}; answered: {string.Join(", ", story.Answered)}; processes: {string.Join(' ', bed.Processes())}; " +
                string.Join(' ', Directory.GetFileSystemEntries(bed.Bed.Paths.Run, "*", SearchOption.AllDirectories).Select(path => Path.GetRelativePath(bed.Bed.Paths.Run, path))), e);
        }
        return (second ?? first).Gate.KilledBefore;
    }

    private static async SystemTask EndsOrServesAsync(RecoveryBed bed, KilledLife second)
    {
        while (!second.HasEnded)
        {
            try
            {
                await bed.Bed.ConnectAsync();
                await bed.StateAsync("bystander");
                // Time for what is done behind the answers; what it does not come to, the next life does.
                await SystemTask.Delay(100);
                break;
            }
            catch (Exception e) when (e is RpcException or IOException or System.Net.Sockets.SocketException)
            {
                await SystemTask.Delay(5);
            }
        }
        second.End();
        await bed.Bed.DisconnectAsync();
    }

    private static async SystemTask ConnectAsync(RecoveryBed bed)
    {
        for (var start = Stopwatch.StartNew(); ;)
        {
            try
            {
                await bed.Bed.ConnectAsync();
                return;
            }
            catch (Exception e) when (e is RpcException or IOException or System.Net.Sockets.SocketException && start.Elapsed < Within.Limit)
            {
                await SystemTask.Delay(5);
            }
        }
    }

    /// <summary>A pod's and a container's whole life, as containerd calls it, and what may be expected after each answer.</summary>
    private sealed class Story(RecoveryBed bed, string? pod)
    {
        private uint _pid;
        private uint _code;

        internal List<string> Answered { get; } = [];

        internal string Attempted { get; private set; } = "";

        /// <summary>Whether a keeper reaps: then no end is unknown.</summary>
        internal bool IsKept { get; init; }

        private uint[] Killed => IsKept ? [137] : [137, 255];

        internal async SystemTask TellAsync()
        {
            if (pod is not null)
            {
                await StepAsync("pod create", bed.CreatePodAsync);
                await StepAsync("pod start", () => bed.Bed.StartAsync("pod"));
            }
            await StepAsync("create", async () => _pid = (uint)await bed.CreateAsync(pod: pod));
            await StepAsync("start", () => bed.StartAsync());
            await StepAsync("exec", () => bed.ExecAsync("exec"));
            await StepAsync("exec kill", () => bed.KillAsync(exec: "exec"));
            await StepAsync("exec wait", () => bed.WaitAsync(exec: "exec"));
            await StepAsync("exec delete", () => bed.DeleteAsync(exec: "exec"));
            await StepAsync("pause", () => bed.Bed.Tasks.PauseAsync(new PauseRequest { Id = "one" }).ResponseAsync.InTime());
            await StepAsync("resume", () => bed.Bed.Tasks.ResumeAsync(new ResumeRequest { Id = "one" }).ResponseAsync.InTime());
            await StepAsync("kill", () => bed.KillAsync());
            await StepAsync("wait", async () => _code = (await bed.WaitAsync()).ExitStatus);
            await StepAsync("delete", () => bed.DeleteAsync());
            if (pod is not null)
            {
                await StepAsync("again", () => bed.RunAsync(pod: pod));
                await StepAsync("pod stop", () => bed.Bed.StopAsync());
                await StepAsync("pod shutdown", () => bed.Bed.ShutdownAsync());
            }
        }

        private async SystemTask StepAsync(string name, Func<SystemTask> step)
        {
            Attempted = name;
            await step();
            Answered.Add(name);
        }

        private bool Had(string step) => Answered.Contains(step);

        private bool Tried(string step) => Had(step) || Attempted == step;

        internal async SystemTask CheckAsync()
        {
            if (Had("pod start") && !Tried("pod stop"))
            {
                Assert.Equal("SANDBOX_READY", await bed.Bed.StateAsync());
            }
            else if (Had("pod create") && !Tried("pod start"))
            {
                Assert.Equal("SANDBOX_NOTREADY", await bed.Bed.StateAsync());
                await bed.Bed.StartAsync("pod");
            }
            else if (Had("pod stop") && !Tried("pod shutdown"))
            {
                Assert.Equal("SANDBOX_NOTREADY", await bed.Bed.StateAsync());
                await bed.Bed.WaitAsync();
            }
            else if (Had("pod shutdown"))
            {
                await SandboxBed.Fails(StatusCode.NotFound, () => bed.Bed.StatusAsync());
            }
            await CheckTaskAsync();
        }

        private async SystemTask CheckTaskAsync()
        {
            if (Had("delete") && !Tried("again"))
            {
                await bed.FailsAsync(StatusCode.NotFound);
            }
            else if (Had("wait") && !Tried("delete"))
            {
                Assert.Equal(_code, (await bed.WaitAsync()).ExitStatus);
                Assert.Equal(_code, (await bed.DeleteAsync()).ExitStatus);
            }
            else if (Had("kill") && !Tried("delete"))
            {
                // True, but where it was reaped and not yet written down: that, without a keeper, nobody knows.
                Assert.Contains((await bed.WaitAsync()).ExitStatus, Killed);
            }
            else if (Had("start") && !Tried("kill"))
            {
                var state = await bed.StateAsync();
                Assert.Equal(_pid, state.Pid);
                Assert.Contains(state.Status, Tried("pause") && !Had("resume") ? [Status.Running, Status.Paused] : new[] { Status.Running });
                Assert.NotNull(ProcessIdentity.Of((int)_pid));
                await CheckExecAsync();
            }
            else if (Had("create") && !Tried("start"))
            {
                Assert.Equal((Status.Created, _pid), ((await bed.StateAsync()).Status, (await bed.StateAsync()).Pid));
                Assert.Equal((int)_pid, await bed.StartAsync());
            }
        }

        private async SystemTask CheckExecAsync()
        {
            if (Had("exec kill") && !Tried("exec delete"))
            {
                Assert.Contains((await bed.WaitAsync(exec: "exec")).ExitStatus, Killed);
                await bed.DeleteAsync(exec: "exec");
            }
            else if (Had("exec") && !Tried("exec kill"))
            {
                Assert.Equal(Status.Running, await bed.StatusAsync(exec: "exec"));
                await bed.KillAsync(exec: "exec");
                Assert.Equal(137u, (await bed.WaitAsync(exec: "exec")).ExitStatus);
            }
            else if (Had("exec delete"))
            {
                await bed.FailsAsync(StatusCode.NotFound, exec: "exec");
            }
        }
    }

    /// <summary>The sandboxer that is killed.</summary>
    private sealed class KilledLife(Process process, SyscallGate gate) : IDisposable
    {
        internal SyscallGate Gate => gate;

        internal bool HasEnded => process.HasExited;

        /// <param name="bed">Whose run directory it serves.</param>
        /// <param name="killAt">At which step after its start it is killed; 0 for none yet.</param>
        internal static KilledLife Start(RecoveryBed bed, int killAt = 0)
        {
            var start = new ProcessStartInfo(Path.ChangeExtension(typeof(ProcessSandboxer).Assembly.Location, null), [bed.Bed.Paths.Run, bed.Runtime])
            {
                RedirectStandardInput = true, RedirectStandardOutput = true,
            };
            var process = Process.Start(start)!;
            var gate = new SyscallGate(process.Id, int.Parse(process.StandardOutput.ReadLine()!, CultureInfo.InvariantCulture));
            gate.KillAt(killAt);
            process.StandardInput.WriteLine("go");
            return new KilledLife(process, gate);
        }

        /// <summary>Behind a keeper: only the first of its sandboxers is killed.</summary>
        internal static KilledLife StartKept(RecoveryBed bed)
        {
            var file = bed.Bed.PathOf("gate");
            var process = Process.Start(Path.ChangeExtension(typeof(ProcessSandboxer).Assembly.Location, null), [bed.Bed.Paths.Run, bed.Runtime, file]);
            SpinWait.SpinUntil(() => File.Exists(file) && File.ReadAllText(file).EndsWith('\n'), Within.Limit);
            var numbers = File.ReadAllText(file).Split(' ', '\n');
            var gate = new SyscallGate(int.Parse(numbers[0], CultureInfo.InvariantCulture), int.Parse(numbers[1], CultureInfo.InvariantCulture));
            File.WriteAllText(file + ".go", "");
            return new KilledLife(process, gate);
        }

        /// <summary>Also of one that was not killed.</summary>
        internal void End()
        {
            process.Kill();
            process.WaitForExit();
        }

        public void Dispose()
        {
            End();
            process.Dispose();
            gate.Dispose();
        }
    }
}
