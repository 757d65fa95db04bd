using System.Threading.Channels;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.EventsTtrpc;
using Kuasar.Protocol.Contracts.Types;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Events;

/// <summary>
/// Sends events to one containerd, one at a time in the order in which they were queued; waits for a containerd that is away, for as long
/// as it takes. An event that containerd refuses is dropped with a log line: sending it again would not help, and it would hold up the rest.
/// </summary>
internal sealed partial class EventPublisher : IEventSink, IAsyncDisposable
{
    /// <summary>About a day of a busy node's events; beyond it the oldest are dropped.</summary>
    private const int QueueLimit = 64 * 1024;

    private static readonly TimeSpan ForwardLimit = TimeSpan.FromSeconds(5), FirstPause = TimeSpan.FromMilliseconds(50),
        LongestPause = TimeSpan.FromSeconds(2), DrainLimit = TimeSpan.FromSeconds(2);

    private readonly Channel<Queued> _queue;
    private readonly string _address;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _sending;
    private TtrpcClient? _client;

    /// <param name="address">Path of containerd's ttrpc socket.</param>
    /// <param name="time">The clock.</param>
    /// <param name="logger">For what could not be sent.</param>
    internal EventPublisher(string address, TimeProvider time, ILogger logger)
    {
        _address = address;
        _time = time;
        _logger = logger;
        _queue = Channel.CreateBounded<Queued>(
            new BoundedChannelOptions(QueueLimit) { SingleReader = true, FullMode = BoundedChannelFullMode.DropOldest },
            dropped => Dropped(logger, dropped.Envelope.Topic, dropped.Envelope.Namespace, "too many events wait"));
        _sending = SendAsync();
    }

    public void Publish(string containerdNamespace, string topic, IMessage message, Action? taken = null)
    {
        Queueing(_logger, topic, containerdNamespace, message);
        _queue.Writer.TryWrite(new Queued(IEventSink.ToEnvelope(containerdNamespace, topic, message, _time.GetUtcNow()), taken));
    }

    private async Task SendAsync()
    {
        try
        {
            await foreach (var (envelope, taken) in _queue.Reader.ReadAllAsync(_stop.Token).ConfigureAwait(false))
            {
                await ForwardAsync(envelope).ConfigureAwait(false);
                taken?.Invoke();
            }
        }
        catch (Exception) when (_stop.IsCancellationRequested)
        {
            // The host ends and containerd is away: nobody will hear the rest.
        }
    }

    private async Task ForwardAsync(Envelope envelope)
    {
        for (var pause = FirstPause; ; pause = pause * 2 < LongestPause ? pause * 2 : LongestPause)
        {
            try
            {
                _client ??= await TtrpcClient.ConnectAsync(_address, new TtrpcClientOptions { TimeProvider = _time }, _stop.Token).ConfigureAwait(false);
                var options = new CallOptions(deadline: _time.GetUtcNow().UtcDateTime + ForwardLimit, cancellationToken: _stop.Token);
                await new Protocol.Contracts.EventsTtrpc.Events.EventsClient(_client)
                    .ForwardAsync(new ForwardRequest { Envelope = envelope }, options).ConfigureAwait(false);
                return;
            }
            catch (RpcException e) when (e.StatusCode is not (StatusCode.Unavailable or StatusCode.DeadlineExceeded or StatusCode.Cancelled))
            {
                Dropped(_logger, envelope.Topic, envelope.Namespace, e.Status.Detail);
                return;
            }
#pragma warning disable CA1031 // whatever it is, the events that follow must not be lost to it
            catch (Exception e) when (!_stop.IsCancellationRequested)
#pragma warning restore CA1031
            {
                Away(_logger, _address, e.Message);
                await CloseClientAsync().ConfigureAwait(false);
            }
            await Task.Delay(pause, _time, _stop.Token).ConfigureAwait(false);
        }
    }

    private async ValueTask CloseClientAsync()
    {
        if (_client is { } client)
        {
            _client = null;
            await client.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Sends what is queued if containerd takes it at once, then stops. Safe to repeat.</summary>
    public async ValueTask DisposeAsync()
    {
        if (!_queue.Writer.TryComplete())
        {
            return;
        }
        _stop.CancelAfter(DrainLimit);
        await _sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        await CloseClientAsync().ConfigureAwait(false);
        _stop.Dispose();
    }

    private readonly record struct Queued(Envelope Envelope, Action? Taken);

    [LoggerMessage(EventId = 402, Level = LogLevel.Debug, Message = "Event {Topic} of namespace {Namespace}: {Event}")]
    private static partial void Queueing(ILogger logger, string topic, string @namespace, IMessage @event);

    [LoggerMessage(EventId = 400, Level = LogLevel.Warning, Message = "Event {Topic} of namespace {Namespace} was dropped: {Reason}")]
    private static partial void Dropped(ILogger logger, string topic, string @namespace, string reason);

    [LoggerMessage(EventId = 401, Level = LogLevel.Debug, Message = "containerd's events service at {Address} is away: {Reason}")]
    private static partial void Away(ILogger logger, string address, string reason);
}
