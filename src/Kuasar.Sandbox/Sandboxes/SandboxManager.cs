using Google.Protobuf.WellKnownTypes;
using Kuasar.Domain;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// All sandboxes of a sandboxer, by key. The calls of the Sandbox API, as each of its services needs them, are about those that a containerd
/// has created; those that tasks imply are found by tasks alone: made at the first container of a pod, ended with the last, whichever that
/// is, so that a pause container that is deleted before its workload takes nothing with it. An id is taken from the first moment of a
/// creation to the last of a removal.
/// </summary>
internal sealed partial class SandboxManager
{
    private readonly DomainPaths _paths;
    private readonly SandboxContext _context;
    private readonly SandboxLeftovers _leftovers;
    private readonly Dictionary<TaskKey, ManagedSandbox> _sandboxes = [];
    private readonly Dictionary<TaskKey, Task> _clearing = [];
    private readonly Lock _lock = new();

    internal SandboxManager(DomainPaths paths, Sandboxer sandboxer, TaskRegistry tasks, SandboxLeftovers leftovers, TimeProvider time, ILogger logger)
    {
        _paths = paths;
        _leftovers = leftovers;
        _context = new SandboxContext(sandboxer, tasks, time, logger, Forget);
    }

    /// <summary>How many ids are taken.</summary>
    internal int Count
    {
        get
        {
            lock (_lock)
            {
                return _sandboxes.Count;
            }
        }
    }

    /// <summary>The sandbox as it is now, from its creation on; answers from memory.</summary>
    /// <exception cref="SandboxException">NotFound.</exception>
    internal ManagedSandbox Find(TaskKey key) => TryFind(key) ?? throw new SandboxException(SandboxError.NotFound, $"no sandbox {key}");

    /// <summary>Null when no containerd has created one of this key.</summary>
    internal ManagedSandbox? TryFind(TaskKey key)
    {
        lock (_lock)
        {
            return _sandboxes.TryGetValue(key, out var sandbox) && !sandbox.IsImplied ? sandbox : null;
        }
    }

    /// <exception cref="SandboxException">AlreadyExists: the id is taken, and who has it is not touched. InvalidArgument.</exception>
    internal async Task CreateAsync(TaskKey key, SandboxRequest request)
    {
        request.Check();
        var sandbox = New(key, request, request.Pod(), implied: false);
        while (true)
        {
            Task? clearing;
            lock (_lock)
            {
                if (!_clearing.TryGetValue(key, out clearing) && !_sandboxes.TryAdd(key, sandbox))
                {
                    throw new SandboxException(SandboxError.AlreadyExists, $"sandbox {key} exists already");
                }
            }
            if (clearing is null)
            {
                await sandbox.CreateAsync().ConfigureAwait(false);
                return;
            }
            await clearing.ConfigureAwait(false);
        }
    }

    /// <summary>Gets it ready; its pid and its time of creation are told by what is returned.</summary>
    internal async Task<ManagedSandbox> StartAsync(TaskKey key)
    {
        var sandbox = Find(key);
        await sandbox.StartAsync().ConfigureAwait(false);
        return sandbox;
    }

    /// <param name="key">Which.</param>
    /// <param name="timeout">How long it may take to end in peace; zero: no limit was asked for.</param>
    /// <param name="cancellationToken">Ends the wait, not the stop.</param>
    internal Task StopAsync(TaskKey key, TimeSpan timeout, CancellationToken cancellationToken) => Find(key).StopAsync(timeout, cancellationToken);

    /// <summary>Completes when it has ended, at once when it has ended before.</summary>
    internal Task<ExitStatus> WaitAsync(TaskKey key, CancellationToken cancellationToken) => Find(key).Exit.WaitAsync(cancellationToken);

    internal Task PingAsync(TaskKey key, CancellationToken cancellationToken) => Find(key).PingAsync(cancellationToken);

    /// <summary>The author's metrics, of now.</summary>
    internal async Task<Metric> GetMetricsAsync(TaskKey key, CancellationToken cancellationToken)
    {
        var data = await Find(key).GetMetricsAsync(cancellationToken).ConfigureAwait(false);
        return new Metric { Id = key.Id, Timestamp = Timestamp.FromDateTimeOffset(_context.Time.GetUtcNow()), Data = data };
    }

    internal Task UpdateAsync(TaskKey key, SandboxResources resources) => Find(key).UpdateAsync(resources);

    /// <summary>
    /// Removes it, stopped or not, and what an earlier life has left of the id. False when there was no sandbox of this key: how that is
    /// answered depends on the way by which containerd came.
    /// </summary>
    internal async Task<bool> ShutdownAsync(TaskKey key, string containerdAddress, CancellationToken cancellationToken)
    {
        if (TryFind(key) is { } sandbox)
        {
            await sandbox.RemoveAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
            return true;
        }
        await RemoveLeftoversAsync(key, containerdAddress).ConfigureAwait(false);
        return false;
    }

    /// <summary>For a shim's <c>delete</c>: removes it whatever its state, or what is left of it; the pid that was known, or 0.</summary>
    internal async Task<int> RemoveAsync(TaskKey key, string containerdAddress)
    {
        if (TryFind(key) is not { } sandbox)
        {
            return await RemoveLeftoversAsync(key, containerdAddress).ConfigureAwait(false);
        }
        await sandbox.RemoveAsync().ConfigureAwait(false);
        return sandbox.ProcessId;
    }

    /// <summary>A place in the sandbox for a task, which leaves it by disposing; in one that the task implies, when no containerd has created it.</summary>
    /// <param name="key">The sandbox's.</param>
    /// <param name="containerdAddress">Whose task it is.</param>
    /// <param name="bundle">The task's.</param>
    /// <exception cref="SandboxException">FailedPrecondition: the sandbox is not ready, or not any more.</exception>
    internal async Task<SandboxMember> JoinAsync(TaskKey key, string containerdAddress, string bundle)
    {
        var member = await EnterAsync(key, containerdAddress, bundle).ConfigureAwait(false);
        if (member.Owner.IsImplied)
        {
            try
            {
                await member.Owner.Opened.ConfigureAwait(false);
            }
            catch
            {
                await member.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
        return member;
    }

    /// <summary>
    /// Takes over a sandbox of an earlier life; when this returns the id is taken, and what is returned completes when the sandbox is there.
    /// </summary>
    /// <param name="record">What is written down of it.</param>
    /// <param name="tasksAreThere">Completes when its tasks have been taken over: an end of its own, that must end them too, waits for that.</param>
    internal Task RecoverAsync(SandboxRecord record, Task tasksAreThere)
    {
        var key = new TaskKey(DomainPaths.InstanceKey(record.ContainerdAddress), record.Namespace, record.Id);
        var request = SandboxRequest.From(record);
        var sandbox = New(key, request, request.Pod(), record.Implied, record, tasksAreThere);
        lock (_lock)
        {
            if (!_sandboxes.TryAdd(key, sandbox))
            {
                throw new SandboxException(SandboxError.AlreadyExists, $"sandbox {key} exists already");
            }
        }
        return sandbox.Opened;
    }

    /// <summary>The place of a task that an earlier life made; its sandbox, when tasks implied it and it had nothing to write down, is made anew.</summary>
    /// <param name="key">The sandbox's.</param>
    /// <param name="request">For one that is made anew.</param>
    /// <param name="isImplied">Whether tasks implied it. One that a containerd created is there, or is not to be had.</param>
    /// <exception cref="SandboxException">FailedPrecondition, NotFound: it has not been taken over.</exception>
    internal async Task<SandboxMember> JoinAgainAsync(TaskKey key, SandboxRequest request, bool isImplied)
    {
        ManagedSandbox? sandbox;
        SandboxMember member;
        lock (_lock)
        {
            if (!_sandboxes.TryGetValue(key, out sandbox))
            {
                if (!isImplied)
                {
                    throw new SandboxException(SandboxError.FailedPrecondition, $"its sandbox {key} has not been taken over");
                }
                sandbox = New(key, request, pod: null, implied: true, request.ToRecord(key, implied: true, _context.Time.GetUtcNow()));
                _sandboxes.Add(key, sandbox);
            }
            member = sandbox.JoinAgain();
        }
        try
        {
            await sandbox.Opened.ConfigureAwait(false);
            return member;
        }
        catch
        {
            member.Abandon();
            throw;
        }
    }

    private async Task<SandboxMember> EnterAsync(TaskKey key, string containerdAddress, string bundle)
    {
        while (true)
        {
            Task? busy;
            lock (_lock)
            {
                if (!_clearing.TryGetValue(key, out busy))
                {
                    if (!_sandboxes.TryGetValue(key, out var sandbox))
                    {
                        _sandboxes.Add(key, sandbox = New(key, new SandboxRequest(containerdAddress, bundle), pod: null, implied: true));
                    }
                    if (sandbox.TryJoin() is { } member)
                    {
                        return member;
                    }
                    // An author has one sandbox of a name at a time.
                    busy = sandbox.Gone;
                }
            }
            await busy.ConfigureAwait(false);
        }
    }

    private ManagedSandbox New(
        TaskKey key, SandboxRequest request, Protocol.Contracts.Cri.PodSandboxConfig? pod, bool implied,
        SandboxRecord? found = null, Task? tasksAreThere = null)
    {
        var folder = new SandboxFolder(
            _paths.SandboxFolder(request.ContainerdAddress, key.Namespace, key.Id), found?.Clone() ?? request.ToRecord(key, implied, _context.Time.GetUtcNow()));
        var spec = new SandboxSpec
        {
            Instance = key.Instance,
            Namespace = key.Namespace,
            Id = key.Id,
            WorkDirectory = folder.Path,
            Pod = pod,
            NetworkNamespace = request.NetworkNamespace.Length > 0 ? request.NetworkNamespace : null,
            Options = request.Options,
            WasStarted = found is not null && (implied || found.State != SandboxRecord.Types.State.Created),
            Folder = folder,
        };
        return new ManagedSandbox(_context, key, spec, implied, () => _leftovers.ClearAsync(folder.Path, implied), found)
        {
            TasksAreThere = tasksAreThere ?? Task.CompletedTask,
        };
    }

    private void Forget(ManagedSandbox sandbox)
    {
        lock (_lock)
        {
            if (_sandboxes.GetValueOrDefault(sandbox.Key) == sandbox)
            {
                _sandboxes.Remove(sandbox.Key);
            }
        }
    }
}
