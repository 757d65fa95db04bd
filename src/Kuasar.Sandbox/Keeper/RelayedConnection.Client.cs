using Kuasar.Linux;
using Kuasar.Sandbox.Processes;

namespace Kuasar.Sandbox.Keeper;

/// <content>From the client.</content>
internal sealed partial class RelayedConnection
{
    private void OnClient(uint events)
    {
        if ((events & EventLoop.Out) != 0 && !FlushClient())
        {
            return;
        }
        // A client that has gone may still have sent something: it is read to its end, unless we are full. Then it has gone all the same.
        if ((events & (EventLoop.In | EventLoop.HangUp | EventLoop.Error)) != 0)
        {
            ReceiveFromClient(gone: (events & (EventLoop.HangUp | EventLoop.Error)) != 0 && (_clientMask & EventLoop.In) == 0);
        }
        Balance();
    }

    private void ReceiveFromClient(bool gone)
    {
        var count = gone ? 0 : Libc.TryReceive(_client, _context.Scratch);
        if (count is -Libc.EAGAIN)
        {
            return;
        }
        if (count <= 0)
        {
            Close();
            return;
        }
        ReadOnlySpan<byte> bytes = _context.Scratch.AsSpan(0, count);
        var gathered = _fromClient.Length > 0;
        if (gathered)
        {
            _fromClient.Append(bytes);
            bytes = _fromClient.Span;
        }
        var used = TakeFrames(bytes);
        if (_closed)
        {
            return;
        }
        if (gathered)
        {
            _fromClient.Remove(used);
        }
        else if (used < bytes.Length)
        {
            _fromClient.Append(bytes[used..]);
        }
        FlushServer();
    }

    private int TakeFrames(ReadOnlySpan<byte> bytes)
    {
        var at = 0;
        while (!_closed)
        {
            var skipped = Math.Min(_discard, bytes.Length - at);
            _discard -= skipped;
            at += skipped;
            var rest = bytes[at..];
            if (rest.Length < TtrpcFrame.HeaderSize)
            {
                return at;
            }
            var length = TtrpcFrame.DataLength(rest);
            if (length > TtrpcFrame.MaxAnnounced)
            {
                Close(); // no ttrpc
                return at;
            }
            if (length > TtrpcFrame.MaxData)
            {
                // The header decides: it is answered before its body has come.
                Refuse(rest, TtrpcFrame.ResourceExhausted, $"a message of {length} bytes exceeds the maximum message size of {TtrpcFrame.MaxData}");
                _discard = TtrpcFrame.HeaderSize + length;
                continue;
            }
            if (rest.Length < TtrpcFrame.HeaderSize + length)
            {
                return at;
            }
            OnFrame(rest[..(TtrpcFrame.HeaderSize + length)]);
            at += TtrpcFrame.HeaderSize + length;
        }
        return at;
    }

    private void OnFrame(ReadOnlySpan<byte> frame)
    {
        var streamId = TtrpcFrame.StreamId(frame);
        switch (TtrpcFrame.Type(frame))
        {
            case TtrpcFrame.Request when _calls.Contains(streamId):
                Refuse(frame, TtrpcFrame.InvalidArgument, "the stream id is in use");
                break;
            case TtrpcFrame.Request:
                var call = _calls.Add(frame, CallRules.Of(frame, frame[TtrpcFrame.HeaderSize..]));
                if (_server is not null && !_context.Holding)
                {
                    Queue(call);
                }
                break;
            // Of a stream that has ended, its data have crossed the answer. Of one that is held back, they could only come too early.
            case TtrpcFrame.Data when _server is not null && _calls.Contains(streamId):
                _toServer.Append(frame);
                _queued += frame.Length;
                break;
            default:
                break;
        }
    }

    private void Refuse(ReadOnlySpan<byte> header, uint code, string message)
    {
        if (TtrpcFrame.Type(header) == TtrpcFrame.Request)
        {
            SendToClient(TtrpcFrame.Error(TtrpcFrame.StreamId(header), code, message));
        }
    }

    private void Queue(PendingCall call)
    {
        _toServer.Append(call.Frame);
        call.End = _queued += call.Frame.Length;
    }

    private void FlushServer()
    {
        while (_server is not null && _closing is null && _toServer.Length > 0)
        {
            var count = Libc.TrySend(_server, _toServer.Span);
            if (count <= 0)
            {
                // -EAGAIN: later. Anything else: it has gone, which its own event tells.
                return;
            }
            _written += count;
            _toServer.Remove(count);
        }
    }

    private void SendToClient(ReadOnlySpan<byte> bytes)
    {
        if (_closed)
        {
            return;
        }
        if (_toClient.Length == 0)
        {
            var count = Libc.TrySend(_client, bytes);
            // An error is told by the client's own event as well.
            bytes = bytes[Math.Max(0, count)..];
        }
        if (!bytes.IsEmpty)
        {
            _toClient.Append(bytes);
        }
    }

    private bool FlushClient()
    {
        var count = Libc.TrySend(_client, _toClient.Span);
        if (count < 0 && count != -Libc.EAGAIN)
        {
            Close();
            return false;
        }
        _toClient.Remove(Math.Max(0, count));
        return true;
    }
}
