using Kuasar.Domain;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Events;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;
using SandboxContract = Kuasar.Protocol.Contracts.RuntimeSandbox.Sandbox;
using TaskContract = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Sandbox.Control;

/// <summary>
/// Where containerds reach this sandboxer: a socket with a Task and a Sandbox service for each containerd and namespace, made when a shim first asks,
/// and a queue of events for each containerd. The socket is what tells two containerds apart, since a request names no more than
/// namespace and id; and containerd 1.7 does not even name the namespace.
/// </summary>
internal sealed partial class Endpoints(
    DomainPaths paths,
    SandboxManager sandboxes,
    TaskRegistry registry,
    Leftovers leftovers,
    StdioEnvironment stdio,
    ITransports transports,
    ILoggerFactory loggerFactory,
    TimeProvider time,
    string version) : IAsyncDisposable
{
    private readonly Dictionary<string, Instance> _instances = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Endpoint> _endpoints = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private readonly ILogger _logger = loggerFactory.CreateLogger("Kuasar.Sandbox");
    private bool _closed;

    /// <summary>The address that containerd is to connect to; it listens when this returns.</summary>
    internal string Listen(ContainerdInstance containerd, string containerdNamespace) => Listen(containerd, containerdNamespace, isRecorded: false);

    private string Listen(ContainerdInstance containerd, string containerdNamespace, bool isRecorded)
    {
        var socket = paths.TaskSocket(containerd.GrpcAddress, containerdNamespace);
        lock (_lock)
        {
            if (_closed)
            {
                throw new SandboxException(SandboxError.Unavailable, "the sandboxer is stopping");
            }
            if (!_endpoints.ContainsKey(socket))
            {
                // Before anybody is told of it: a later life opens it again. That one needs no room on the disk for it.
                if (!isRecorded)
                {
                    EndpointRecordFile.Write(socket, new EndpointRecord { Schema = RecordFile.Schema, Containerd = containerd, Namespace = containerdNamespace });
                }
                _endpoints.Add(socket, Open(socket, InstanceOf(containerd), containerdNamespace));
            }
            return "unix://" + socket;
        }
    }

    /// <summary>
    /// Opens again what an earlier life listened on, so that a containerd that comes back finds its tasks. A record that cannot be read is
    /// moved to quarantine; its containerd asks a shim when it wants something.
    /// </summary>
    /// <returns>What the tasks of each containerd share, by its short name.</returns>
    internal Dictionary<string, TaskContext> Reopen()
    {
        var contexts = new Dictionary<string, TaskContext>(StringComparer.Ordinal);
        foreach (var path in EndpointRecordFile.FindAll(paths))
        {
            RecordFile.RemoveTemporaries(path);
            try
            {
                if (EndpointRecordFile.Read(path) is { } record)
                {
                    Listen(record.Containerd, record.Namespace, isRecorded: true);
                    contexts[DomainPaths.InstanceKey(record.Containerd.GrpcAddress)] = ContextOf(record.Containerd);
                }
            }
            catch (InvalidDataException e)
            {
                Unreadable(_logger, path, e.Message, EndpointRecordFile.Quarantine(paths, path));
            }
        }
        return contexts;
    }

    /// <summary>What the tasks of one containerd share, for those who reach it by another way than its shims.</summary>
    internal TaskContext ContextOf(ContainerdInstance containerd)
    {
        lock (_lock)
        {
            return _closed ? throw new SandboxException(SandboxError.Unavailable, "the sandboxer is stopping") : InstanceOf(containerd).Context;
        }
    }

    private Instance InstanceOf(ContainerdInstance containerd)
    {
        var key = DomainPaths.InstanceKey(containerd.GrpcAddress);
        if (!_instances.TryGetValue(key, out var instance))
        {
            var events = new EventPublisher(containerd.TtrpcAddress, time, loggerFactory.CreateLogger("Kuasar.Sandbox.Events"));
            var context = new TaskContext(
                key, containerd.GrpcAddress, paths, new TaskEvents(events), stdio, sandboxes, time,
                loggerFactory.CreateLogger("Kuasar.Sandbox.Tasks"));
            _instances.Add(key, instance = new Instance(context, events));
        }
        return instance;
    }

    private Endpoint Open(string socket, Instance instance, string containerdNamespace)
    {
        var service = new TaskService(instance.Context, containerdNamespace, registry, leftovers, version);
        var server = new TtrpcServer(new TtrpcServerOptions { LoggerFactory = loggerFactory, TimeProvider = time, ErrorMapper = SandboxException.ToStatus });
        TaskContract.BindService(server.Services, service);
        TaskContract.BindService(server.ServicesAs("containerd.task.v2.Task"), service);
        SandboxContract.BindService(server.Services, new SandboxService(instance.Context, containerdNamespace));
        var source = transports.Listen(socket);
        return new Endpoint(server, source, server.ServeAsync(source, CancellationToken.None));
    }

    public async ValueTask DisposeAsync()
    {
        List<Endpoint> endpoints;
        List<Instance> instances;
        lock (_lock)
        {
            _closed = true;
            (endpoints, instances) = ([.. _endpoints.Values], [.. _instances.Values]);
            _endpoints.Clear();
            _instances.Clear();
        }
        await Task.WhenAll(endpoints.Select(endpoint => endpoint.CloseAsync())).ConfigureAwait(false);
        await Task.WhenAll(instances.Select(instance => instance.Events.DisposeAsync().AsTask())).ConfigureAwait(false);
    }

    [LoggerMessage(EventId = 504, Level = LogLevel.Error, Message = "The endpoint record {File} is unreadable ({Reason}); it is kept in {Quarantine}")]
    private static partial void Unreadable(ILogger logger, string file, string reason, string quarantine);

    private sealed record Instance(TaskContext Context, EventPublisher Events);

    private sealed record Endpoint(TtrpcServer Server, IConnectionSource Source, Task Serving)
    {
        internal async Task CloseAsync()
        {
            await Source.DisposeAsync().ConfigureAwait(false);
            // A Wait is in flight for every running task: there is nothing to drain.
            await Server.DisposeAsync().ConfigureAwait(false);
            await Serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
