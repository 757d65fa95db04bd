using System.Text.Json;
using System.Text.Json.Nodes;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Runc;
using Kuasar.Protocol.Contracts.TaskTypes;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using RecordState = Kuasar.Protocol.Contracts.Control.TaskRecord.Types.State;

namespace Kuasar.Sandbox.Tasks;

internal sealed partial class ContainerTask
{
    /// <summary>Registers an exec; nothing is opened or run before its Start.</summary>
    internal void AddExec(string execId, Any? process, StdioAddresses addresses)
    {
        if (_initGone || _deleting || _init.State is ProcessState.Paused or ProcessState.Stopped or ProcessState.Deleted)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"cannot exec in a task that is {Name(_init)}");
        }
        var exec = new ManagedProcess(execId, addresses) { Spec = ExecProcess(process, addresses.Terminal) };
        if (!_execs.TryAdd(execId, exec))
        {
            throw new SandboxException(SandboxError.AlreadyExists, $"exec {execId} of task {Key} exists already");
        }
        try
        {
            _resources.Note(record => record.Execs.Add(exec.ToRecord()));
        }
        catch
        {
            _execs.TryRemove(new(execId, exec));
            throw;
        }
        _context.Events.ExecAdded(Key, execId);
    }

    private static byte[] ExecProcess(Any? process, bool terminal)
    {
        try
        {
            // The request's terminal overrides the spec's.
            if (process is not null && JsonNode.Parse(process.Value.Span, documentOptions: OciSpec.Strict) is JsonObject json && json["args"] is JsonArray)
            {
                json["terminal"] = terminal;
                using var buffer = new MemoryStream();
                using (var writer = new Utf8JsonWriter(buffer))
                {
                    json.WriteTo(writer);
                }
                return buffer.ToArray();
            }
        }
        catch (JsonException)
        {
            // Said below.
        }
        throw new SandboxException(SandboxError.InvalidArgument, $"the exec's spec is no OCI process ({process?.TypeUrl ?? "none"})");
    }

    internal async Task KillAsync(string execId, int signal, bool all)
    {
        var process = Find(execId);
        if (process.State is ProcessState.Stopped or ProcessState.Deleted)
        {
            throw new SandboxException(SandboxError.NotFound, $"process {(execId.Length == 0 ? "init" : execId)} of task {Key} has finished");
        }
        if (process.Process is not { } running)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"exec {execId} of task {Key} has not been started");
        }
        // Not on the lane: a signal is never too early, and it may be what ends the call that holds the lane.
        if (all && process == _init)
        {
            await _container.SignalAllAsync(signal, CancellationToken.None).ConfigureAwait(false);
        }
        else
        {
            await running.SignalAsync(signal, CancellationToken.None).ConfigureAwait(false);
        }
        if (signal == Kill && _init.State == ProcessState.Paused)
        {
            using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
            if (_init.State == ProcessState.Paused)
            {
                // What is frozen cannot die (cgroup v1).
                await CleanUp.TryAsync(() => _container.ResumeAsync(CancellationToken.None)).ConfigureAwait(false);
                _init.State = ProcessState.Running;
                _resources.NoteOutcome(record => record.State = RecordState.Running);
            }
        }
    }

    internal async Task PauseAsync()
    {
        using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
        RequireState("pause", ProcessState.Running);
        _resources.Note(record => record.State = RecordState.Paused);
        try
        {
            await _container.PauseAsync(CancellationToken.None).ConfigureAwait(false);
        }
        catch
        {
            _resources.NoteOutcome(record => record.State = RecordState.Running);
            throw;
        }
        _init.State = ProcessState.Paused;
        _context.Events.Paused(Key);
    }

    internal async Task ResumeAsync()
    {
        using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
        RequireState("resume", ProcessState.Paused);
        await _container.ResumeAsync(CancellationToken.None).ConfigureAwait(false);
        _init.State = ProcessState.Running;
        _resources.NoteOutcome(record => record.State = RecordState.Running);
        _context.Events.Resumed(Key);
    }

    internal async Task UpdateAsync(Any? resources)
    {
        if (resources is null || resources.TypeUrl != TypeUrl.OciLinuxResources)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"resources are not {TypeUrl.OciLinuxResources} but {resources?.TypeUrl ?? "absent"}");
        }
        using var turn = await _init.Lane.EnterAsync().ConfigureAwait(false);
        if (_initGone || _init.State is ProcessState.Stopped or ProcessState.Deleted)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"cannot update a task that is {Name(_init)}");
        }
        await _container.UpdateAsync(resources.Value.Memory, CancellationToken.None).ConfigureAwait(false);
    }

    internal async Task ResizeAsync(string execId, uint columns, uint rows)
    {
        var process = Find(execId);
        if (process.State is ProcessState.Stopped or ProcessState.Deleted)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"cannot resize a process that is {Name(process)}");
        }
        process.Stdio?.Resize(columns, rows);
        if (_container.IsRemote && process.Process is { } running)
        {
            await running.ResizeAsync(columns, rows, CancellationToken.None).ConfigureAwait(false);
        }
    }

    internal void CloseStdin(string execId)
    {
        _resources.NoteOutcome(record =>
        {
            if ((execId.Length == 0 ? record.Stdio : TaskResources.ExecOf(record, execId)?.Stdio) is { } stdio)
            {
                stdio.StdinClosed = true;
            }
        });
        Find(execId).Stdio?.CloseStdin();
    }

    internal Task<Any> GetMetricsAsync() => _container.GetMetricsAsync(CancellationToken.None);

    /// <summary>The state to show: an exec shows its container's pause.</summary>
    internal ProcessState StateOf(ManagedProcess process) =>
        process.State == ProcessState.Running && _init.State == ProcessState.Paused ? ProcessState.Paused : process.State;

    /// <summary>Never empty: containerd up to 2.2 takes a task without pids for a leaked one.</summary>
    internal IEnumerable<ProcessInfo> GetProcesses()
    {
        if (_init.State == ProcessState.Deleted)
        {
            throw new SandboxException(SandboxError.NotFound, $"no task {Key}");
        }
        Dictionary<int, string> execs = [];
        foreach (var exec in _execs.Values.Where(e => e.State == ProcessState.Running))
        {
            // An author may give several the same pid, and the kernel that of one whose end is not told yet.
            execs[exec.ProcessId] = exec.ExecId;
        }
        var pids = _container.GetProcessIds();
        foreach (var pid in pids.Count > 0 ? pids : _container.IsRemote ? execs.Keys.Prepend(_init.ProcessId).Distinct() : [_init.ProcessId])
        {
            var info = new ProcessInfo { Pid = (uint)pid };
            if (execs.TryGetValue(pid, out var execId))
            {
                info.Info = TypeUrl.Pack(new ProcessDetails { ExecId = execId });
            }
            yield return info;
        }
    }

    private void RequireState(string verb, ProcessState required)
    {
        if (_initGone || _init.State != required)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, $"cannot {verb} a task that is {Name(_init)}");
        }
    }
}
