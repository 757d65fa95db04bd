using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Vmm.Agent;
using Kuasar.Vmm.Contracts.Agent;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Vmm;

/// <summary>
/// The host's end of a guest agent that speaks as Kuasar's vmm-task does: containerd's Task service v2, the sandbox service, and stdio as
/// streams, by ttrpc over vsock. Thread-safe.
/// </summary>
/// <remarks>
/// It dials when it has something to say, and again after the connection was lost. Calls that were under way then fail with UNAVAILABLE;
/// a wait for a container's end is simply asked once more. It outlives pauses, during which calls wait; after a restore or a new life of
/// the manager, a new client (or <see cref="ReconnectAsync"/>) finds the guest as it was left.
/// </remarks>
public sealed partial class AgentClient : IAsyncDisposable
{
    /// <summary>Where the agent listens in the guest.</summary>
    public const uint Port = 1024;

    /// <summary>Where vmm-task's debug console listens in the guest.</summary>
    public const uint ConsolePort = 1025;

    /// <summary>What a guest dials at <see cref="VsockEndPoint.HostCid"/> when its agent serves; closed without a byte by either side.</summary>
    public const uint CallHomePort = 1026;

    /// <summary>How often a clock is asked for when answers are late.</summary>
    private const int ClockQuestions = 5;

    private readonly AgentChannel _channel;
    private readonly AgentClientOptions _options;
    private readonly ILogger _log;

    /// <summary>A client that dials by the function, which is to give a fresh stream to the agent each time.</summary>
    /// <param name="dial">For example <c>token =&gt; vm.ConnectAsync(AgentClient.Port, token)</c>. Called for each stream, and again when one is lost.</param>
    /// <param name="options">Null is all defaults.</param>
    public AgentClient(Func<CancellationToken, ValueTask<Stream>> dial, AgentClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(dial);
        _options = options ?? new AgentClientOptions();
        _channel = new AgentChannel(dial, _options);
        _log = (_options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger<AgentClient>();
        Tasks = new Protocol.Contracts.TaskV2.Task.TaskClient(_channel);
        Sandbox = new SandboxService.SandboxServiceClient(_channel);
    }

    /// <summary>A client that dials the endpoint, whose port counts. A pause of the guest is for the caller to look out for.</summary>
    public static AgentClient Of(VsockEndPoint agent, AgentClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(agent);
        options ??= new AgentClientOptions();
        return new AgentClient(async token => await agent.ConnectAsync(options.ConnectTimeout, token).ConfigureAwait(false), options);
    }

    /// <summary>A client of the machine's agent, on <see cref="Port"/>. While the machine is paused its dials wait.</summary>
    public static AgentClient For(VirtualMachine machine, AgentClientOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(machine);
        options ??= new AgentClientOptions();
        return new AgentClient(async token => await machine.ConnectAsync(Port, options.ConnectTimeout, token).ConfigureAwait(false), options);
    }

    /// <summary>The containers of the guest.</summary>
    public Protocol.Contracts.TaskV2.Task.TaskClient Tasks { get; }

    /// <summary>The guest itself.</summary>
    public SandboxService.SandboxServiceClient Sandbox { get; }

    /// <summary>Asks once whether the agent serves, within <see cref="AgentClientOptions.CheckTimeout"/>.</summary>
    /// <exception cref="RpcException">It does not: UNAVAILABLE, DEADLINE_EXCEEDED.</exception>
    public async Task CheckAsync(CancellationToken cancellationToken = default) =>
        await Sandbox.CheckAsync(new CheckRequest(), Within(_options.CheckTimeout, cancellationToken)).ConfigureAwait(false);

    /// <summary>Tells the guest what pod it is: once, before the first container.</summary>
    /// <param name="config">CRI's PodSandboxConfig as JSON, UTF-8.</param>
    /// <param name="network">The pod's interfaces and routes; <see cref="GuestNetwork.None"/> for a pod without.</param>
    /// <param name="cancellationToken">Ends the wait; the guest goes on.</param>
    /// <exception cref="RpcException">The guest refuses, or does not answer in time.</exception>
    public async Task SetupSandboxAsync(
        ReadOnlyMemory<byte> config, GuestNetwork network, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(network);
        var request = new SetupSandboxRequest { Config = new Any { TypeUrl = "PodSandboxConfig", Value = ByteString.CopyFrom(config.Span) } };
        request.Interfaces.AddRange(network.Interfaces);
        request.Routes.AddRange(network.Routes);
        await Sandbox.SetupSandboxAsync(request, Within(_options.SetupTimeout, cancellationToken)).ConfigureAwait(false);
    }

    /// <summary>
    /// Sets the guest's clock by the host's, if it is off by more than the tolerance. A late answer tells little of a clock: the best of a few counts.
    /// </summary>
    /// <returns>What the guest's clock lacked (negative: it was ahead), as exact as half the shortest round trip.</returns>
    /// <exception cref="RpcException">The guest does not answer.</exception>
    public async Task<TimeSpan> SyncClockAsync(CancellationToken cancellationToken = default)
    {
        var tolerance = _options.ClockTolerance.Ticks * TimeSpan.NanosecondsPerTick;
        var (best, shortest) = await AskClockAsync(cancellationToken).ConfigureAwait(false);
        for (var asked = 1; asked < ClockQuestions && shortest / 2 > tolerance; asked++)
        {
            var (packet, roundTrip) = await AskClockAsync(cancellationToken).ConfigureAwait(false);
            (best, shortest) = roundTrip < shortest ? (packet, roundTrip) : (best, shortest);
        }
        var delta = TimeSpan.FromTicks(best.Delta / TimeSpan.NanosecondsPerTick);
        if (delta.Duration() > _options.ClockTolerance)
        {
            await Sandbox.SyncClockAsync(best, Within(_options.CheckTimeout, cancellationToken)).ConfigureAwait(false);
        }
        return delta;
    }

    private async Task<(SyncClockPacket Packet, long RoundTrip)> AskClockAsync(CancellationToken cancellationToken)
    {
        var packet = await Sandbox.SyncClockAsync(
            new SyncClockPacket { ClientSendTime = Clock.Now(_options.TimeProvider) }, Within(_options.CheckTimeout, cancellationToken)).ConfigureAwait(false);
        packet.ServerArriveTime = Clock.Now(_options.TimeProvider);
        (packet.Delta, var roundTrip) = Clock.Measure(packet);
        return (packet, roundTrip);
    }

    /// <summary>Sets the guest's clock now and again, until cancelled; failures are logged and tried again with the next round.</summary>
    public async Task KeepClockAsync(TimeSpan period, CancellationToken cancellationToken)
    {
        using var timer = new PeriodicTimer(period, _options.TimeProvider);
        do
        {
            try
            {
                await SyncClockAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException error) when (!cancellationToken.IsCancellationRequested)
            {
                AgentLog.ClockNotSet(_log, error.Status.Detail);
            }
        }
        while (await timer.WaitForNextTickAsync(cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Reads the output of a process; open it before the process is created. The last reader gets it: an earlier one fails.</summary>
    /// <param name="streamId">As <see cref="StreamId"/> makes it; the same as in the stdio strings of the Task call.</param>
    /// <param name="position">How many bytes of the output the caller has from earlier readers: an agent that keeps what they had not acknowledged gives what follows.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>A stream to read, to its end or a <see cref="VsockException"/> when the guest is lost; the caller disposes it.</returns>
    /// <exception cref="IOException">The agent cannot be reached, or refuses.</exception>
    public async Task<Stream> OpenOutputAsync(string streamId, long position = 0, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(streamId);
        ArgumentOutOfRangeException.ThrowIfNegative(position);
        var stream = await _channel.DialAsync(cancellationToken).ConfigureAwait(false);
        return await AgentOutput.OpenAsync(stream, _channel, streamId, position, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Writes the input of a process; open it before the process is created.</summary>
    /// <param name="streamId">As <see cref="StreamId"/> makes it.</param>
    /// <param name="cancellationToken">Ends the attempt.</param>
    /// <returns>The input; the caller disposes it.</returns>
    /// <exception cref="IOException">The agent cannot be reached, or refuses.</exception>
    public async Task<AgentInput> OpenInputAsync(string streamId, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(streamId);
        var client = await _channel.OpenAsync(cancellationToken).ConfigureAwait(false);
        return await AgentInput.OpenAsync(client, streamId, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The id of a process's stream.</summary>
    /// <param name="containerId">The container.</param>
    /// <param name="execId">Null or empty for its first process.</param>
    /// <param name="name">stdin, stdout or stderr; vmm-task tells them apart by the end of the id.</param>
    public static string StreamId(string containerId, string? execId, string name) =>
        name is "stdin" or "stdout" or "stderr"
            ? string.IsNullOrEmpty(execId) ? $"{containerId}-{name}" : $"{containerId}-{execId}-{name}"
            : throw new ArgumentException($"'{name}' is none of stdin, stdout, stderr.", nameof(name));

    /// <summary>What stands for the stream in the stdio strings of Task.Create and Exec. The agent looks at the id only.</summary>
    public static string StreamUri(VsockEndPoint agent, string streamId) => $"ttrpc+{agent}?streaming_id={streamId}";

    /// <summary>A ttrpc connection of its own to the agent, for other services; the caller disposes it.</summary>
    /// <exception cref="IOException">The agent cannot be reached.</exception>
    public Task<TtrpcClient> ConnectAsync(CancellationToken cancellationToken = default) => _channel.OpenAsync(cancellationToken);

    /// <summary>Drops the connection and dials anew: after a restore, where the old one may be dead without a word.</summary>
    /// <exception cref="RpcException">The agent does not serve.</exception>
    public async Task ReconnectAsync(CancellationToken cancellationToken = default)
    {
        await _channel.DropAsync().ConfigureAwait(false);
        await CheckAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Closes the connection; calls under way fail with UNAVAILABLE. Streams are their owners'. Idempotent.</summary>
    public ValueTask DisposeAsync() => _channel.DisposeAsync();

    private CallOptions Within(TimeSpan time, CancellationToken cancellationToken) =>
        new(deadline: _options.TimeProvider.GetUtcNow().UtcDateTime + time, cancellationToken: cancellationToken);
}
