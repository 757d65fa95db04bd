using Grpc.Core;
using Kuasar.Protocol.Contracts.EventsService;
using Kuasar.Testing;
using Kuasar.Testing.Cri;
using static Kuasar.Testing.Containerd.Containers.Containers;
using static Kuasar.Testing.Containerd.Snapshots.Snapshots;
using static Kuasar.Testing.Containerd.Tasks.Tasks;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>What tests call of one containerd, in one of its namespaces.</summary>
internal sealed class ContainerdClient : IDisposable
{
    private readonly ContainerdChannel _channel;

    internal ContainerdClient(string socket, string containerdNamespace)
    {
        Namespace = containerdNamespace;
        _channel = ContainerdChannel.ForSocket(socket, containerdNamespace);
        Tasks = new TasksClient(_channel.Invoker);
        Containers = new ContainersClient(_channel.Invoker);
        Snapshots = new SnapshotsClient(_channel.Invoker);
        Events = new Events.EventsClient(_channel.Invoker);
        Cri = new RuntimeService.RuntimeServiceClient(_channel.Invoker);
    }

    internal string Namespace { get; }

    internal TasksClient Tasks { get; }

    internal ContainersClient Containers { get; }

    internal SnapshotsClient Snapshots { get; }

    internal Events.EventsClient Events { get; }

    internal RuntimeService.RuntimeServiceClient Cri { get; }

    /// <summary>No call of a test lasts for ever.</summary>
    internal static CallOptions Options => Bound(Within.Usual);

    internal static CallOptions Bound(TimeSpan bound) => new(deadline: DateTime.UtcNow + bound);

    public void Dispose() => _channel.Dispose();
}
