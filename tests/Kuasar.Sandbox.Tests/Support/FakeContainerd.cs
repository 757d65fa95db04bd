using System.Threading.Channels;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.EventsTtrpc;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Sandbox.Tests.Support;

/// <summary>containerd's Events service on a socket, which can go away and come back.</summary>
internal sealed class FakeContainerd(string socket) : Kuasar.Protocol.Contracts.EventsTtrpc.Events.EventsBase, IAsyncDisposable
{
    private readonly Channel<Envelope> _events = Channel.CreateUnbounded<Envelope>();
    private TtrpcServer? _server;
    private UnixConnectionSource? _source;

    internal string Socket => socket;

    /// <summary>What it does before it takes an event; may throw.</summary>
    internal Func<Envelope, Task> OnForward { get; set; } = _ => Task.CompletedTask;

    internal void Start()
    {
        _source = UnixConnectionSource.Bind(socket);
        _server = new TtrpcServer();
        Kuasar.Protocol.Contracts.EventsTtrpc.Events.BindService(_server.Services, this);
        _ = _server.ServeAsync(_source, CancellationToken.None);
    }

    /// <summary>Answers what it has taken, then goes.</summary>
    internal async Task StopAsync()
    {
        if (_source is not null)
        {
            await _source.DisposeAsync();
            await _server!.StopAsync(Within.Limit);
            _source = null;
        }
    }

    public override async Task<Empty> Forward(ForwardRequest request, ServerCallContext context)
    {
        await OnForward(request.Envelope);
        await _events.Writer.WriteAsync(request.Envelope);
        return new Empty();
    }

    internal Task<Envelope> NextAsync() => _events.Reader.ReadAsync().AsTask().InTime();

    /// <summary>The next topics, without "/tasks/".</summary>
    internal async Task<string> NextTopicsAsync(int count)
    {
        List<string> topics = [];
        for (var i = 0; i < count; i++)
        {
            topics.Add((await NextAsync()).Topic["/tasks/".Length..]);
        }
        return string.Join(' ', topics);
    }

    /// <summary>Whether an event has come that nobody has asked for.</summary>
    internal bool HasMore => _events.Reader.TryPeek(out _);

    public async ValueTask DisposeAsync() => await StopAsync();
}
