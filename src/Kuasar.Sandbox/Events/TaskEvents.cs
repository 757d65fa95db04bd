using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox.Events;

/// <summary>The events of tasks, as containerd's consumers know them: topic and message, one method each.</summary>
internal sealed class TaskEvents(IEventSink publisher)
{
    internal void Created(TaskKey key, CreateTaskRequest request, int pid)
    {
        var message = new TaskCreate
        {
            ContainerId = key.Id,
            Bundle = request.Bundle,
            Io = new TaskIO { Stdin = request.Stdin, Stdout = request.Stdout, Stderr = request.Stderr, Terminal = request.Terminal },
            Checkpoint = request.Checkpoint,
            Pid = (uint)pid,
        };
        message.Rootfs.AddRange(request.Rootfs);
        publisher.Publish(key.Namespace, "/tasks/create", message);
    }

    internal void TaskStarted(TaskKey key, int pid) =>
        publisher.Publish(key.Namespace, "/tasks/start", new TaskStart { ContainerId = key.Id, Pid = (uint)pid });

    internal void ExecAdded(TaskKey key, string execId) =>
        publisher.Publish(key.Namespace, "/tasks/exec-added", new TaskExecAdded { ContainerId = key.Id, ExecId = execId });

    internal void ExecStarted(TaskKey key, string execId, int pid) =>
        publisher.Publish(key.Namespace, "/tasks/exec-started", new TaskExecStarted { ContainerId = key.Id, ExecId = execId, Pid = (uint)pid });

    /// <param name="key">The task.</param>
    /// <param name="execId">Empty for init, which goes by the container's id.</param>
    /// <param name="pid">The process.</param>
    /// <param name="status">How it ended.</param>
    /// <param name="taken">Called when containerd has taken it.</param>
    internal void Exited(TaskKey key, string execId, int pid, ExitStatus status, Action taken) =>
        publisher.Publish(key.Namespace, "/tasks/exit", new TaskExit
        {
            ContainerId = key.Id,
            Id = execId.Length == 0 ? key.Id : execId,
            Pid = (uint)pid,
            ExitStatus = status.Code,
            ExitedAt = Timestamp.FromDateTimeOffset(status.ExitedAt),
        }, taken);

    internal void Deleted(TaskKey key, int pid, ExitStatus? status) =>
        publisher.Publish(key.Namespace, "/tasks/delete", new TaskDelete
        {
            ContainerId = key.Id,
            Pid = (uint)pid,
            ExitStatus = status?.Code ?? 0,
            ExitedAt = status is { } exit ? Timestamp.FromDateTimeOffset(exit.ExitedAt) : null,
        });

    internal void OutOfMemory(TaskKey key) => publisher.Publish(key.Namespace, "/tasks/oom", new TaskOOM { ContainerId = key.Id });

    internal void Paused(TaskKey key) => publisher.Publish(key.Namespace, "/tasks/paused", new TaskPaused { ContainerId = key.Id });

    internal void Resumed(TaskKey key) => publisher.Publish(key.Namespace, "/tasks/resumed", new TaskResumed { ContainerId = key.Id });
}
