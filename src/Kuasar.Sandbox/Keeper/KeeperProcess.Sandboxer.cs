using Kuasar.Linux;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <content>What a sandboxer asks for.</content>
internal sealed partial class KeeperProcess
{
    /// <summary>A zombie of a parent that is about to go, and so about to be ours.</summary>
    private static readonly TimeSpan ZombieLimit = TimeSpan.FromSeconds(2);

    private sealed record ExitQuestion(SandboxerProcess Sandboxer, uint Request, int ProcessId, ulong Start)
    {
        internal bool Answered { get; set; }
    }

    private void OnPacket(SandboxerProcess sender, ref PacketReader packet, PacketKind kind, SafeFileHandle? handle)
    {
        try
        {
            switch (kind)
            {
                case PacketKind.Hello:
                    packet.Number(); // the protocol: there is one
                    sender.Version = packet.Text();
                    OnHello(sender);
                    break;
                case PacketKind.Listen or PacketKind.ListenRaw:
                    Listen(sender, packet.Number(), packet.Text(), kind == PacketKind.ListenRaw);
                    break;
                case PacketKind.Store when handle is not null:
                    Store(packet.Text(), handle);
                    handle = null;
                    break;
                case PacketKind.Drop:
                    Drop(packet.Text());
                    break;
                case PacketKind.Watch:
                    _exits.Watch((int)packet.Number(), packet.Long());
                    break;
                case PacketKind.Release:
                    _exits.Release((int)packet.Number(), packet.Long());
                    break;
                case PacketKind.EndOf:
                    AnswerEnd(new ExitQuestion(sender, packet.Number(), (int)packet.Number(), packet.Long()));
                    break;
                case PacketKind.Ready:
                    OnReady(sender);
                    break;
                case PacketKind.Leaving:
                    OnLeaving(sender);
                    break;
                default:
                    break; // of a later version: it must do without
            }
        }
        catch (InvalidDataException e)
        {
            BadPacket(_logger, sender.ProcessId, e.Message);
            sender.Kill();
        }
        handle?.Dispose();
    }

    private void Listen(SandboxerProcess sender, uint request, string path, bool raw)
    {
        var errno = 0;
        if (!_listeners.TryGetValue(path, out var listener) || listener.IsRaw != raw)
        {
            listener?.Dispose();
            try
            {
                listener = _listeners[path] = new KeeperListener(_context, path, raw, socket: null, OnAccepted);
                _service?.Store(NameOf(listener), listener.Socket);
            }
            catch (IOException e)
            {
                _listeners.Remove(path);
                errno = e is LinuxException { Errno: var number } ? number : Libc.EIO;
                NotListening(_logger, e, path);
            }
        }
        _writer.Begin(PacketKind.Listening).Number(request).Number((uint)errno);
        sender.Send(_writer, errno == 0 && raw ? listener!.Socket : null);
        if (errno == 0)
        {
            listener!.IsClaimed = true;
            foreach (var connection in listener.Connections.Where(connection => !connection.IsAttached).ToArray())
            {
                HandOver(sender, listener, connection);
            }
        }
    }

    private void OnAccepted(KeeperListener listener, RelayedConnection connection)
    {
        if (listener.IsClaimed && _active is { Stage: SandboxerStage.TakingOver or SandboxerStage.Ready } sandboxer)
        {
            HandOver(sandboxer, listener, connection);
        }
    }

    private void HandOver(SandboxerProcess sandboxer, KeeperListener listener, RelayedConnection connection)
    {
        SafeFileHandle mine, theirs;
        try
        {
            (mine, theirs) = Libc.SocketPair(packets: false);
        }
        catch (LinuxException e)
        {
            // Out of fds: better one client that is told so than all of them.
            NotListening(_logger, e, listener.Path);
            connection.Close();
            return;
        }
        var peer = connection.Peer;
        sandboxer.Send(
            _writer.Begin(PacketKind.Connection).Text(listener.Path).Number((uint)peer.ProcessId).Number(peer.UserId).Number(peer.GroupId), theirs, owned: true);
        connection.Attach(mine);
    }

    private void Store(string name, SafeFileHandle handle)
    {
        Drop(name);
        _handles.Add(name, handle);
        _service?.Store(HandleName(name), handle);
    }

    private void Drop(string name)
    {
        if (_handles.Remove(name, out var handle))
        {
            handle.Dispose();
            _service?.Remove(HandleName(name));
        }
    }

    private void AnswerEnd(ExitQuestion question)
    {
        Reap();
        if (_exits.Find(question.ProcessId, question.Start) is null && question.Start != 0
            && ProcessIdentity.Of(question.ProcessId)?.StartTime == question.Start)
        {
            _exits.Watch(question.ProcessId, question.Start);
            _exitQuestions.Add(question);
            _timers.After(ZombieLimit, () => Answer(question));
            return;
        }
        Answer(question);
    }

    private void AnswerExitQuestions()
    {
        foreach (var question in _exitQuestions.ToArray())
        {
            if (_exits.Find(question.ProcessId, question.Start) is not null)
            {
                Answer(question);
            }
        }
    }

    private void Answer(ExitQuestion question)
    {
        _exitQuestions.Remove(question);
        if (question.Answered)
        {
            return;
        }
        question.Answered = true;
        var exit = _exits.Find(question.ProcessId, question.Start);
        question.Sandboxer.Send(_writer.Begin(PacketKind.Ended).Number(question.Request).Number(exit is null ? 0u : 1u)
            .Number((uint)(exit?.Status ?? 0)).Long((ulong)(exit?.UnixMilliseconds ?? 0)));
    }

    [LoggerMessage(EventId = 600, Level = LogLevel.Error, Message = "Sandboxer {Pid} is ended: it said what is no message ({Reason})")]
    private static partial void BadPacket(ILogger logger, int pid, string reason);

    [LoggerMessage(EventId = 601, Level = LogLevel.Error, Message = "The keeper cannot listen or hand over on {Path}")]
    private static partial void NotListening(ILogger logger, Exception e, string path);
}
