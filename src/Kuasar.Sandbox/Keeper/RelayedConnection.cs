using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Who connected, as the kernel said when the connection was accepted.</summary>
internal readonly record struct PeerIdentity(int ProcessId, uint UserId, uint GroupId);

/// <summary>What all connections share: the loop, memory to receive into, and the keeper's word on what goes on.</summary>
internal sealed class RelayContext(EventLoop loop, KeeperTimers timers)
{
    internal EventLoop Loop => loop;

    internal KeeperTimers Timers => timers;

    /// <summary>One for all, as there is one thread.</summary>
    internal byte[] Scratch { get; } = new byte[64 * 1024];

    /// <summary>Requests are kept back: an upgrade is under way.</summary>
    internal bool Holding { get; set; }

    /// <summary>After each answer and each close, while somebody waits for the calls to end.</summary>
    internal Action? Answered { get; set; }
}

/// <summary>
/// One connection of a client, relayed to whichever sandboxer there is, by frames. The sandboxer has a stream of its own for it, which ends
/// with the sandboxer; the client's goes on. Answers pass only whole. The states:
/// <code>
/// detached --Attach--> attached --Detach (the sandboxer has died)--> detached
///     any --the client goes, breaks the protocol, or the living sandboxer closes--> closed
/// </code>
/// Owned by its <see cref="KeeperListener"/>; used by the loop's thread alone.
/// </summary>
internal sealed partial class RelayedConnection
{
    /// <summary>Past that, bytes are no longer taken from whoever sends them until those that wait have gone.</summary>
    private const int QueueLimit = 256 * 1024;

    /// <summary>The same for requests without an answer. One request of any size fits as well.</summary>
    private const int PendingBytesLimit = 16 << 20, HeldLimit = 1 << 20, PendingCountLimit = 8192;

    /// <summary>A sandboxer that closes a connection and lives on for so long meant it.</summary>
    private static readonly TimeSpan CloseDelay = TimeSpan.FromMilliseconds(500);

    private readonly RelayContext _context;
    private readonly KeeperListener _listener;
    private readonly SafeFileHandle _client;
    private readonly EventLoop.Registration _clientEvents;
    private readonly PendingCalls _calls = new();
    private readonly ByteQueue _fromClient = new(), _toClient = new(), _fromServer = new(), _toServer = new();
    private SafeFileHandle? _server;
    private EventLoop.Registration? _serverEvents;
    private KeeperTimers.Entry? _closing;
    private uint _clientMask = EventLoop.In, _serverMask = EventLoop.In;
    private long _queued, _written; // of the stream to the sandboxer
    private int _discard; // of a frame of the client's that is too large
    private bool _closed;

    internal RelayedConnection(RelayContext context, KeeperListener listener, SafeFileHandle client, PeerIdentity peer)
    {
        (_context, _listener, _client, Peer) = (context, listener, client, peer);
        _clientEvents = context.Loop.Register(client, EventLoop.In, OnClient);
    }

    internal PeerIdentity Peer { get; }

    internal PendingCalls Calls => _calls;

    internal bool IsAttached => _server is not null;

    /// <summary>Whether the sandboxer has acts or streams in hand: an upgrade waits for their end.</summary>
    internal bool HasActs => _server is not null && _calls.All.Any(call => call.Rule != CallRule.AskAgain && call.End != long.MaxValue);

    /// <summary>What it holds in memory, for the operator.</summary>
    internal long Bytes => _calls.Bytes + _fromClient.Length + _toClient.Length + _fromServer.Length + _toServer.Length;

    /// <summary>Gives it to a sandboxer, and all that has no answer with it.</summary>
    /// <param name="server">The keeper's end; it is ours from here on.</param>
    internal void Attach(SafeFileHandle server)
    {
        _server = server;
        _serverMask = EventLoop.In;
        _serverEvents = _context.Loop.Register(server, _serverMask, OnServer);
        (_queued, _written) = (0, 0);
        SendHeld();
    }

    /// <summary>Sends the requests that were held back, in the order in which they came.</summary>
    internal void SendHeld()
    {
        if (_server is null || _context.Holding)
        {
            return;
        }
        foreach (var call in _calls.All)
        {
            if (call.End == long.MaxValue)
            {
                Queue(call);
            }
        }
        FlushServer();
        Balance();
    }

    /// <summary>
    /// The sandboxer has died: the answers that it gave are delivered, what it had in hand is answered or held for the next one. A request
    /// whose last byte had not left for it was never in its hands.
    /// </summary>
    internal void Detach()
    {
        if (_closed || _server is null)
        {
            return;
        }
        while (ReceiveFromServer() > 0)
        {
        }
        DropServer();
        foreach (var call in _calls.All.ToArray())
        {
            if (call.Rule == CallRule.Stream || (call.Rule == CallRule.Answer && call.End <= _written))
            {
                SendToClient(TtrpcFrame.Error(call.StreamId, TtrpcFrame.Unavailable, "the sandboxer ended while it had this call; what it did is not known"));
                _calls.Remove(call.StreamId);
            }
            else
            {
                if (call.Rule == CallRule.BeginAnew && call.End <= _written)
                {
                    _calls.Mark(call);
                }
                call.End = long.MaxValue;
            }
        }
        Balance();
    }

    internal void Close()
    {
        if (_closed)
        {
            return;
        }
        _closed = true;
        _closing?.Cancel();
        _clientEvents.Dispose();
        _client.Dispose();
        DropServer();
        _calls.Clear();
        _fromClient.Clear();
        _toClient.Clear();
        _listener.Remove(this);
        _context.Answered?.Invoke();
    }

    private void DropServer()
    {
        _closing?.Cancel();
        _closing = null;
        _serverEvents?.Dispose();
        _serverEvents = null;
        _server?.Dispose();
        _server = null;
        _fromServer.Clear();
        _toServer.Clear();
    }

    // What is read next, by what waits. Level-triggered: an fd that is not read must not be waited for.
    private void Balance()
    {
        if (_closed)
        {
            return;
        }
        var full = _toServer.Length > QueueLimit || _calls.Count >= PendingCountLimit
            || _calls.Bytes > (_server is null || _context.Holding ? HeldLimit : PendingBytesLimit);
        var client = (full ? 0 : EventLoop.In) | (_toClient.Length > 0 ? EventLoop.Out : 0);
        if (client != _clientMask)
        {
            _clientEvents.Modify(_clientMask = client);
        }
        if (_serverEvents is null || _closing is not null)
        {
            return;
        }
        var server = (_toClient.Length > QueueLimit ? 0 : EventLoop.In) | (_toServer.Length > 0 ? EventLoop.Out : 0);
        if (server != _serverMask)
        {
            _serverEvents.Modify(_serverMask = server);
        }
    }
}
