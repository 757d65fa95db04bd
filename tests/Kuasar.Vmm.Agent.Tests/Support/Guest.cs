using System.Net.Sockets;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV2;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Vmm.Contracts.Agent;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.Vmm.Agent.Tests.Support;

/// <summary>A guest whose agent keeps to vmm-task's protocol: real ttrpc, behind a hybrid vsock socket.</summary>
internal sealed class Guest : IAsyncDisposable
{
    private readonly Folder _folder = new();
    private readonly TtrpcServer _server = new();

    public Guest()
    {
        Vsock = new HybridSocket(_folder.File("v.sock"));
        SandboxService.BindService(_server.Services, Sandbox);
        Protocol.Contracts.TaskV2.Task.BindService(_server.Services, Tasks);
        Protocol.Contracts.Streaming.Streaming.BindService(_server.Services, Streams);
    }

    public HybridSocket Vsock { get; }
    public GuestSandbox Sandbox { get; } = new();
    public GuestTasks Tasks { get; } = new();
    public GuestStreams Streams { get; } = new();

    /// <summary>A guest that has booted.</summary>
    public static Guest Booted()
    {
        var guest = new Guest();
        guest.Boot();
        return guest;
    }

    public void Boot() => Vsock.Listen(AgentClient.Port, ServeAsync);

    public AgentClient Client(AgentClientOptions? options = null) => AgentClient.Of(Vsock.Port(AgentClient.Port), options);

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        await Vsock.DisposeAsync();
        _folder.Dispose();
    }

    private async Task ServeAsync(Socket socket) => await _server.ServeAsync(Connection.FromStream(new NetworkStream(socket)), default);
}

internal sealed class GuestSandbox : SandboxService.SandboxServiceBase
{
    public List<SetupSandboxRequest> Setups { get; } = [];
    public System.Threading.Channels.Channel<Envelope> Events { get; } = System.Threading.Channels.Channel.CreateUnbounded<Envelope>();

    /// <summary>What the guest's clock is ahead.</summary>
    public TimeSpan Ahead { get; set; }

    /// <summary>What each of the next answers about the clock waits for, once it knows the time.</summary>
    public Queue<TimeSpan> Late { get; set; } = new();

    public List<long> Deltas { get; } = [];

    public int EventCallsWaiting;

    public override Task<Empty> Check(CheckRequest request, ServerCallContext context) => Task.FromResult(new Empty());

    public override Task<Empty> SetupSandbox(SetupSandboxRequest request, ServerCallContext context)
    {
        Setups.Add(request);
        return Task.FromResult(new Empty());
    }

    public override async Task<SyncClockPacket> SyncClock(SyncClockPacket request, ServerCallContext context)
    {
        Deltas.Add(request.Delta);
        if (request.Delta != 0)
        {
            Ahead += TimeSpan.FromTicks(request.Delta / 100);
            return request;
        }
        var now = Clock.Now(TimeProvider.System) + (Ahead.Ticks * 100);
        var answer = request.Clone();
        (answer.ClientArriveTime, answer.ServerSendTime) = (now, now);
        if (Late.TryDequeue(out var late))
        {
            await Task.Delay(late, context.CancellationToken);
        }
        return answer;
    }

    public override async Task<Envelope> GetEvents(Empty request, ServerCallContext context)
    {
        Interlocked.Increment(ref EventCallsWaiting);
        try
        {
            return await Events.Reader.ReadAsync(context.CancellationToken);
        }
        finally
        {
            Interlocked.Decrement(ref EventCallsWaiting);
        }
    }
}

internal sealed class GuestTasks : Protocol.Contracts.TaskV2.Task.TaskBase
{
    public TaskCompletionSource<WaitResponse> End { get; } = new();

    public int Waits;

    public override Task<WaitResponse> Wait(WaitRequest request, ServerCallContext context)
    {
        Interlocked.Increment(ref Waits);
        return End.Task.WaitAsync(context.CancellationToken);
    }

    public override Task<StateResponse> State(StateRequest request, ServerCallContext context) =>
        request.Id == "c1" ? Task.FromResult(new StateResponse { Id = "c1", Pid = 7 }) : throw new RpcException(new Status(StatusCode.NotFound, request.Id));
}
