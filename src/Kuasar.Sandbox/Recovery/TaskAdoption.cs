using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Cgroups;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;
using RecordState = Kuasar.Protocol.Contracts.Control.TaskRecord.Types.State;

namespace Kuasar.Sandbox.Recovery;

/// <summary>
/// Makes a task of an earlier life of the sandboxer ours, by its record. Nothing is made and nothing is ended but what the record shows to
/// be half-done; when it fails, everything is as it was.
/// </summary>
internal sealed class TaskAdoption(TaskContext context, HostProcesses processes, string folder, TaskRecord record)
{
    private readonly TaskKey _key = new(context.Instance, record.Namespace, record.Id);

    internal async Task<ContainerTask> AdoptAsync()
    {
        var resources = new TaskResources(folder, record, context.Logger);
        var member = await resources.JoinAgainAsync(context.Sandboxes, _key with { Id = record.Pod }).ConfigureAwait(false);
        ProcessStdio? stdio = null;
        var execs = new List<ManagedProcess>();
        try
        {
            var addresses = StdioAddresses.From(record.Stdio);
            stdio = ProcessStdio.Recover(context.Stdio, addresses, ContainerTask.StdioName(_key, ""), record.Stdio.StdinClosed, record.Remote);
            var spec = new ContainerSpec
            {
                Id = record.Id,
                Bundle = record.Bundle,
                WorkDirectory = folder,
                Oci = OciSpec.Load(record.Bundle),
                Stdio = stdio,
                Options = record.Options,
                Resources = resources,
                OnOutOfMemory = () => context.Events.OutOfMemory(_key),
            };
            var cgroup = Cgroup.FromFolders(record.Cgroups, CgroupMount.OfThisHost);
            var container = await RecoverContainerAsync(member.Sandbox, spec, cgroup).ConfigureAwait(false);
            var init = new ManagedProcess("", addresses) { Stdio = stdio, State = await StateAsync(container).ConfigureAwait(false) };
            init.Attach(container);
            var exit = End(init, record.Exit);
            foreach (var exec in record.Execs)
            {
                execs.Add(await AdoptExecAsync(container, exec, resources).ConfigureAwait(false));
            }
            OciRuntime.RemoveTemporaries(folder);
            var task = new ContainerTask(context, _key, resources, spec, container, init, execs, exit);
            member.Settle(task);
            spec.Oci.Release();
            return task;
        }
        catch
        {
            foreach (var process in execs)
            {
                process.Stdio?.Abandon();
            }
            stdio?.Abandon();
            member.Abandon();
            throw;
        }
    }

    private async Task<Container> RecoverContainerAsync(Sandbox sandbox, ContainerSpec spec, Cgroup? cgroup)
    {
        var init = FirstProcess();
        try
        {
            return await sandbox.RecoverContainerAsync(spec, init, cgroup, CancellationToken.None).ConfigureAwait(false);
        }
        catch
        {
            init?.Dispose();
            throw;
        }
    }

    private HostProcess? FirstProcess() =>
        record.Remote ? null
        : record.Processes is [{ } first, ..] ? processes.Recover(first)
        : throw new InvalidDataException("the record names no process");

    private async Task<ProcessState> StateAsync(Container container) => record.State switch
    {
        RecordState.Created => ProcessState.Created,
        RecordState.Starting => await container.IsStartedAsync(CancellationToken.None).ConfigureAwait(false) ? ProcessState.Running : ProcessState.Created,
        // Written down before it is done, and it may have failed.
        RecordState.Paused => container.Cgroup?.IsFrozen == false ? ProcessState.Running : ProcessState.Paused,
        // What may be deleted without force has not run, or has ended.
        RecordState.Deleting when record.Exit is null => ProcessState.Created,
        // One that has ended counts as running until that is told.
        _ => ProcessState.Running,
    };

    private async Task<ManagedProcess> AdoptExecAsync(Container container, ExecRecord exec, TaskResources resources)
    {
        var process = new ManagedProcess(exec.Id, StdioAddresses.From(exec.Stdio)) { Spec = exec.Process.Memory };
        if (exec.State == RecordState.Created)
        {
            return process;
        }
        process.Stdio = ProcessStdio.Recover(context.Stdio, process.Addresses, ContainerTask.StdioName(_key, exec.Id), exec.Stdio.StdinClosed, record.Remote);
        if (exec.Started is null)
        {
            // Its Start was not answered, so nobody counts on it: it has failed, and its client sees the end of its streams at once.
            OciRuntime.EndExec(folder, exec.Id, container.Cgroup);
            await process.Stdio.DisposeAsync().ConfigureAwait(false);
            var unknown = new ExitStatus(ExitStatus.UnknownCode, context.Time.GetUtcNow());
            process.Stop(unknown);
            resources.NoteExit(exec.Id, unknown);
            resources.NoteExitTold(exec.Id);
            return process;
        }
        var spec = new ExecSpec { Id = exec.Id, Process = exec.Process.Memory, WorkDirectory = folder, Stdio = process.Stdio };
        var started = record.Remote ? null : processes.Recover(exec.Started);
        process.Attach(await container.RecoverExecAsync(spec, started, CancellationToken.None).ConfigureAwait(false));
        process.State = ProcessState.Running;
        if (End(process, exec.Exit) is { } status)
        {
            // Seen before, and not told.
            context.Events.Exited(_key, exec.Id, process.ProcessId, status, () => resources.NoteExitTold(exec.Id));
            process.Stop(status);
        }
        return process;
    }

    /// <summary>How it ended, where that is yet to be told; what containerd knows already is done with.</summary>
    private static ExitStatus? End(ManagedProcess process, ExitRecord? exit)
    {
        if (exit is null)
        {
            return null;
        }
        var status = new ExitStatus(exit.Status, exit.At.ToDateTimeOffset());
        if (exit.Told)
        {
            process.Stop(status);
            return null;
        }
        return status;
    }
}
