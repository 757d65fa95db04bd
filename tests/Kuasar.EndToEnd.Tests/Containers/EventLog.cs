using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.EventsService;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>One task event.</summary>
/// <param name="Name">The topic without <c>/tasks/</c>: create, start, exit, exec-added, …</param>
/// <param name="Process">The exec's id, empty for init.</param>
internal sealed record TaskEvent(string Namespace, string Name, string Id, string Process, IMessage Message)
{
    /// <summary>As tests compare it: <c>exit</c>, or <c>exit(exec)</c>.</summary>
    public override string ToString() => Process.Length == 0 ? Name : $"{Name}({Process})";
}

/// <summary>All task events of a containerd, in the order of their arrival.</summary>
internal sealed class EventLog : IAsyncDisposable
{
    private const string Prefix = "/tasks/", Marker = "/e2e/marker";
    private readonly List<TaskEvent> _events = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _subscribed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Task _reading = Task.CompletedTask;

    /// <summary>Every event that is published after this has returned is seen.</summary>
    internal static async Task<EventLog> OpenAsync(ContainerdClient client)
    {
        var log = new EventLog();
        log._reading = log.ReadAsync(client.Events.Subscribe(new SubscribeRequest(), cancellationToken: log._stop.Token));
        // containerd does not say when a subscription counts: one does when our own event comes back.
        await Within.UntilAsync(async () =>
        {
            await client.Events.PublishAsync(new PublishRequest { Topic = Marker, Event = TypeUrl.Pack(new TaskOOM()) }, ContainerdClient.Options);
            return log._subscribed.Task.IsCompleted || log._reading.IsCompleted;
        }, what: "the subscription to events");
        await (log._reading.IsCompleted ? log._reading : Task.CompletedTask);
        return log;
    }

    /// <summary>Those of one container so far, in any namespace or in one.</summary>
    internal IReadOnlyList<TaskEvent> Of(string id, string? containerdNamespace = null)
    {
        lock (_events)
        {
            return [.. _events.Where(e => Matches(e, id, containerdNamespace))];
        }
    }

    /// <summary>Waits until the container's event has come, and returns it.</summary>
    internal async Task<TaskEvent> UntilAsync(string id, string text, string? containerdNamespace = null)
    {
        using var bound = new CancellationTokenSource(Within.Usual);
        while (true)
        {
            Task changed;
            lock (_events)
            {
                if (_events.FirstOrDefault(e => Matches(e, id, containerdNamespace) && e.ToString() == text) is { } found)
                {
                    return found;
                }
                changed = _changed.Task;
            }
            try
            {
                await changed.WaitAsync(bound.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"no event {text} of {id} within {Within.Usual}, only: {string.Join(' ', Of(id, containerdNamespace))}");
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private static bool Matches(TaskEvent e, string id, string? containerdNamespace) => e.Id == id && (containerdNamespace ?? e.Namespace) == e.Namespace;

    private async Task ReadAsync(AsyncServerStreamingCall<Envelope> call)
    {
        using (call)
        {
            try
            {
                await foreach (var envelope in call.ResponseStream.ReadAllAsync(_stop.Token))
                {
                    Add(envelope);
                }
            }
            catch (RpcException) when (_stop.IsCancellationRequested || _subscribed.Task.IsCompleted)
            {
                // Ours to end, or containerd's when it stops.
            }
        }
    }

    private void Add(Envelope envelope)
    {
        if (envelope.Topic == Marker)
        {
            _subscribed.TrySetResult();
            return;
        }
        if (!envelope.Topic.StartsWith(Prefix, StringComparison.Ordinal))
        {
            return;
        }
        var (id, process, message) = Read(envelope.Event);
        var name = envelope.Topic[Prefix.Length..];
        lock (_events)
        {
            _events.Add(new TaskEvent(envelope.Namespace, name, id, process == id ? "" : process, message));
            _changed.TrySetResult();
            _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    private static (string Id, string Process, IMessage Message) Read(Any any) =>
        TypeUrl.TryUnpack<TaskCreate>(any, out var create) ? (create.ContainerId, "", create)
        : TypeUrl.TryUnpack<TaskStart>(any, out var start) ? (start.ContainerId, "", start)
        : TypeUrl.TryUnpack<TaskExit>(any, out var exit) ? (exit.ContainerId, exit.Id, exit)
        : TypeUrl.TryUnpack<TaskDelete>(any, out var delete) ? (delete.ContainerId, delete.Id, delete)
        : TypeUrl.TryUnpack<TaskOOM>(any, out var oom) ? (oom.ContainerId, "", oom)
        : TypeUrl.TryUnpack<TaskExecAdded>(any, out var added) ? (added.ContainerId, added.ExecId, added)
        : TypeUrl.TryUnpack<TaskExecStarted>(any, out var started) ? (started.ContainerId, started.ExecId, started)
        : TypeUrl.TryUnpack<TaskPaused>(any, out var paused) ? (paused.ContainerId, "", paused)
        : TypeUrl.TryUnpack<TaskResumed>(any, out var resumed) ? (resumed.ContainerId, "", resumed)
        : ("", "", any);
}
