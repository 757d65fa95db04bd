using Kuasar.Linux;
using Kuasar.Sandbox.Processes;

namespace Kuasar.Sandbox.Keeper;

/// <content>From the sandboxer.</content>
internal sealed partial class RelayedConnection
{
    private void OnServer(uint events)
    {
        if ((events & EventLoop.Out) != 0)
        {
            FlushServer();
        }
        if ((events & (EventLoop.In | EventLoop.HangUp | EventLoop.Error)) != 0 && _closing is null && ReceiveFromServer() == 0)
        {
            // It has closed this connection, or it has died, which we are about to hear.
            _serverEvents!.Dispose();
            _serverEvents = null;
            _closing = _context.Timers.After(CloseDelay, CloseIfMeant);
        }
        Balance();
    }

    private void CloseIfMeant()
    {
        if (_listener.ServerIsLeaving)
        {
            return;
        }
        Close();
    }

    /// <summary>How many bytes came; 0 at the end, negative when there are none now.</summary>
    private int ReceiveFromServer()
    {
        var count = Libc.TryReceive(_server!, _context.Scratch);
        if (count <= 0)
        {
            return count == -Libc.EAGAIN ? count : 0;
        }
        ReadOnlySpan<byte> bytes = _context.Scratch.AsSpan(0, count);
        var gathered = _fromServer.Length > 0;
        if (gathered)
        {
            _fromServer.Append(bytes);
            bytes = _fromServer.Span;
        }
        // Whole frames alone: what the sandboxer began to say and did not finish was never said.
        var whole = 0;
        while (bytes.Length - whole >= TtrpcFrame.HeaderSize)
        {
            var frame = bytes[whole..];
            var length = TtrpcFrame.HeaderSize + TtrpcFrame.DataLength(frame);
            if (frame.Length < length)
            {
                break;
            }
            if (TtrpcFrame.Type(frame) == TtrpcFrame.Response)
            {
                _calls.Remove(TtrpcFrame.StreamId(frame));
            }
            whole += length;
        }
        SendToClient(bytes[..whole]);
        if (gathered)
        {
            _fromServer.Remove(whole);
        }
        else if (whole < bytes.Length)
        {
            _fromServer.Append(bytes[whole..]);
        }
        if (whole > 0)
        {
            _context.Answered?.Invoke();
        }
        return count;
    }
}
