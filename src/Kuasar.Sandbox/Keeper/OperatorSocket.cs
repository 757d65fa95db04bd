using System.Text;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// Where an operator talks to the keeper: one line there, one answer back, and the end. Root and our own user alone.
/// <code>
/// status
/// upgrade DEADLINE-MS BINARY          (BINARY may be empty: the file at the path that runs now)
/// </code>
/// </summary>
internal sealed class OperatorSocket : IDisposable
{
    private const int MaxCalls = 16;

    private readonly EventLoop _loop;
    private readonly EventLoop.Registration _registration;
    private readonly Action<OperatorCall, string> _asked;
    private readonly HashSet<OperatorCall> _calls = [];

    internal OperatorSocket(EventLoop loop, SafeFileHandle socket, Action<OperatorCall, string> asked)
    {
        (_loop, Socket, _asked) = (loop, socket, asked);
        _registration = loop.Register(socket, EventLoop.In, _ => Accept());
    }

    internal SafeFileHandle Socket { get; }

    private void Accept()
    {
        if (Libc.TryAccept(Socket) is not { } peer)
        {
            return;
        }
        var (_, user, _) = Libc.PeerOf(peer);
        if ((user != 0 && user != Libc.EffectiveUserId) || _calls.Count >= MaxCalls)
        {
            peer.Dispose();
            return;
        }
        var call = new OperatorCall(peer, call => _calls.Remove(call));
        _calls.Add(call);
        call.Read(_loop, _asked);
    }

    public void Dispose()
    {
        _registration.Dispose();
        Socket.Dispose();
        foreach (var call in _calls.ToArray())
        {
            call.Finish("the keeper ends");
        }
    }
}

/// <summary>One question of an operator's; it ends with its answer.</summary>
internal sealed class OperatorCall(SafeFileHandle peer, Action<OperatorCall>? ended)
{
    private readonly StringBuilder _line = new();
    private EventLoop.Registration? _registration;
    private bool _asked;
    private bool _finished;

    internal SafeFileHandle Peer => peer;

    internal void Read(EventLoop loop, Action<OperatorCall, string> asked) =>
        _registration = loop.Register(peer, EventLoop.In, _ => OnReadable(asked));

    private void OnReadable(Action<OperatorCall, string> asked)
    {
        Span<byte> buffer = stackalloc byte[1024];
        var count = Libc.TryReceive(peer, buffer);
        if (count == -Libc.EAGAIN)
        {
            return;
        }
        _line.Append(Encoding.UTF8.GetString(buffer[..Math.Max(0, count)]));
        var line = _line.ToString();
        var end = line.IndexOf('\n', StringComparison.Ordinal);
        if (count <= 0 || _line.Length > 8192)
        {
            // Gone, or rude. What it has asked for goes on.
            Close();
        }
        else if (end >= 0 && !_asked)
        {
            _asked = true;
            asked(this, line[..end]);
        }
    }

    internal void Finish(string text)
    {
        if (!_finished)
        {
            Libc.TrySend(peer, Encoding.UTF8.GetBytes(text + "\n"));
        }
        Close();
    }

    private void Close()
    {
        if (_finished)
        {
            return;
        }
        _finished = true;
        _registration?.Dispose();
        peer.Dispose();
        ended?.Invoke(this);
    }
}
