using Kuasar.Domain;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Events;
using Kuasar.Sandbox.Stdio;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;
using TaskContract = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Sandbox.Control;

/// <summary>
/// The containerds that this sandboxer serves: for each a socket, a Task service and a queue of events of its own, made when its first shim
/// asks. The connection's socket is all that tells two containerds apart, since requests name only namespace and id.
/// </summary>
internal sealed class Instances(
    DomainPaths paths,
    Sandboxer sandboxer,
    TaskRegistry registry,
    Leftovers leftovers,
    StdioEnvironment stdio,
    ITransports transports,
    ILoggerFactory loggerFactory,
    TimeProvider time,
    string version) : IAsyncDisposable
{
    private readonly Dictionary<string, Instance> _instances = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();

    /// <summary>The address that containerd is to connect to; it listens when this returns.</summary>
    internal string Listen(ContainerdInstance containerd)
    {
        var key = DomainPaths.InstanceKey(containerd.GrpcAddress);
        lock (_lock)
        {
            if (!_instances.TryGetValue(key, out var instance))
            {
                _instances.Add(key, instance = Open(key, containerd));
            }
            return "unix://" + instance.Socket;
        }
    }

    private Instance Open(string key, ContainerdInstance containerd)
    {
        var logger = loggerFactory.CreateLogger("Kuasar.Sandbox.Tasks");
        var socket = paths.InstanceSocket(containerd.GrpcAddress);
        var source = transports.Listen(socket);
        var events = new EventPublisher(containerd.TtrpcAddress, time, loggerFactory.CreateLogger("Kuasar.Sandbox.Events"));
        var context = new TaskContext(
            key, containerd.GrpcAddress, paths, new TaskEvents(events), stdio, new SandboxTable(sandboxer), time, logger);
        var service = new TaskService(
            context, registry, id => leftovers.RemoveAsync(paths.TaskFolder(containerd.GrpcAddress, id.Namespace, id.Id)), version);
        var server = new TtrpcServer(new TtrpcServerOptions { LoggerFactory = loggerFactory, TimeProvider = time, ErrorMapper = SandboxException.ToStatus });
        TaskContract.BindService(server.Services, service);
        TaskContract.BindService(server.ServicesAs("containerd.task.v2.Task"), service);
        return new Instance(socket, server, source, events, server.ServeAsync(source, CancellationToken.None));
    }

    public async ValueTask DisposeAsync()
    {
        List<Instance> all;
        lock (_lock)
        {
            all = [.. _instances.Values];
            _instances.Clear();
        }
        await Task.WhenAll(all.Select(CloseAsync)).ConfigureAwait(false);
    }

    private static async Task CloseAsync(Instance instance)
    {
        await instance.Source.DisposeAsync().ConfigureAwait(false);
        // A Wait is in flight for every running task: there is nothing to drain.
        await instance.Server.DisposeAsync().ConfigureAwait(false);
        await instance.Serving.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await instance.Events.DisposeAsync().ConfigureAwait(false);
    }

    private sealed record Instance(string Socket, TtrpcServer Server, IConnectionSource Source, EventPublisher Events, Task Serving);
}

/// <summary>Where sockets come from. The one place that knows whether this process or a keeper listens.</summary>
internal interface ITransports
{
    /// <summary>A listening socket, mode 0600 in a folder of mode 0700, for peers that run as root or as ourselves.</summary>
    IConnectionSource Listen(string path);
}

internal sealed class UnixTransports(ILoggerFactory loggerFactory) : ITransports
{
    public IConnectionSource Listen(string path) =>
        path.Length <= DomainPaths.MaxSocketPath
            ? UnixConnectionSource.Bind(path, new UnixSocketOptions { LoggerFactory = loggerFactory })
            : throw new SandboxException(SandboxError.InvalidArgument, $"the socket path is longer than {DomainPaths.MaxSocketPath} characters: {path}");
}
