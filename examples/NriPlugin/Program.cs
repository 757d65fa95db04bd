// usage: kuasar-demo-nri [SOCKET]      (/var/run/nri/nri.sock; as root, beside a containerd 1.7 or 2.x with NRI enabled)
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Grpc.Core;
using Kuasar.Examples.Nri;
using Kuasar.Protocol;

using var stop = new CancellationTokenSource();
using var onTerm = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var onInterrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);

var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
await socket.ConnectAsync(new UnixDomainSocketEndPoint(args is [var path] ? path : "/var/run/nri/nri.sock"));

// Both serve and both call over this one socket.
await using var multiplexer = new Multiplexer(Connection.FromSocket(socket));
await using var server = new TtrpcServer();
Plugin.BindService(server.Services, new PodNames());
var serving = server.ServeAsync(multiplexer.Open(Multiplexer.NriPluginService), CancellationToken.None);
await using var client = new TtrpcClient(multiplexer.Open(Multiplexer.NriRuntimeService));
multiplexer.Start();

var runtime = new Kuasar.Examples.Nri.Runtime.RuntimeClient(client);
await runtime.RegisterPluginAsync(
    new RegisterPluginRequest { PluginName = "pod-names", PluginIdx = "10" }, deadline: DateTime.UtcNow.AddSeconds(5));
Console.WriteLine("registered");

using var over = CancellationTokenSource.CreateLinkedTokenSource(stop.Token, multiplexer.Closed);
await Task.Delay(Timeout.Infinite, over.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
await server.StopAsync(drain: TimeSpan.FromSeconds(2));
await serving;
return stop.IsCancellationRequested ? 0 : 1; // the runtime has closed: start again

void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.Cancel();
}

/// <summary>Calls of the runtime come one after the other, and it waits for each: be quick.</summary>
internal sealed class PodNames : Plugin.PluginBase
{
    private static readonly Event[] s_events = [Event.RunPodSandbox, Event.CreateContainer, Event.RemoveContainer];

    public override Task<ConfigureResponse> Configure(ConfigureRequest request, ServerCallContext context)
    {
        Console.WriteLine($"configured by {request.RuntimeName} {request.RuntimeVersion}");
        return Task.FromResult(new ConfigureResponse { Events = s_events.Aggregate(0, (mask, e) => mask | (1 << ((int)e - 1))) });
    }

    public override Task<SynchronizeResponse> Synchronize(SynchronizeRequest request, ServerCallContext context)
    {
        Console.WriteLine($"synchronized: {request.Pods.Count} pods, {request.Containers.Count} containers");
        return Task.FromResult(new SynchronizeResponse { More = request.More });
    }

    public override Task<CreateContainerResponse> CreateContainer(CreateContainerRequest request, ServerCallContext context)
    {
        Console.WriteLine($"create {request.Pod.Namespace}/{request.Pod.Name}/{request.Container.Name}");
        var adjust = new ContainerAdjustment { Env = { new KeyValue { Key = "POD_NAME", Value = request.Pod.Name } } };
        return Task.FromResult(new CreateContainerResponse { Adjust = adjust });
    }

    public override Task<Empty> StateChange(StateChangeEvent request, ServerCallContext context)
    {
        Console.WriteLine($"{request.Event} {request.Pod.Namespace}/{request.Pod.Name} {request.Container?.Name}".TrimEnd());
        return Task.FromResult(new Empty());
    }

    public override Task<Empty> Shutdown(Empty request, ServerCallContext context) => Task.FromResult(new Empty());
}
