using System.Runtime.InteropServices;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Network;

/// <summary>rtnetlink of the thread's network namespace; blocking, for one thread. The kernel answers within the call.</summary>
internal sealed class NetlinkSocket : IDisposable
{
    private const int NLMSG_ERROR = 2, NLMSG_DONE = 3;
    private const ushort NLM_F_ACK = 4;
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(5);

    private readonly SafeFileHandle _socket = Libc.OpenRouteSocket(s_timeout);
    private readonly byte[] _buffer = new byte[64 * 1024];
    private uint _sequence;

    /// <summary>What an answer of a dump is made into: the family header and the attributes follow each other in the bytes.</summary>
    internal delegate T? Parser<out T>(ReadOnlySpan<byte> body);

    /// <summary>All answers that the parser makes something of.</summary>
    internal List<T> Dump<T>(NetlinkRequest request, Parser<T> parse) where T : class
    {
        var found = new List<T>();
        Send(request.Finish(++_sequence));
        while (true)
        {
            var rest = Receive();
            while (TryTake(ref rest, out var type, out var sequence, out var body))
            {
                if (sequence != _sequence)
                {
                    continue; // of a dump that was given up
                }
                if (type is NLMSG_DONE)
                {
                    return found;
                }
                if (type is NLMSG_ERROR)
                {
                    throw new LinuxException($"rtnetlink {request.Type}", -BitConverter.ToInt32(body));
                }
                if (parse(body) is { } item)
                {
                    found.Add(item);
                }
            }
        }
    }

    /// <summary>Has something done.</summary>
    /// <exception cref="LinuxException">The kernel refuses.</exception>
    internal void Do(string what, ushort type, ushort flags, ReadOnlySpan<byte> header, Action<NetlinkRequest>? add = null)
    {
        if (Try(type, flags, header, add) is not 0 and var error)
        {
            throw new LinuxException(what, error);
        }
    }

    /// <summary>As <see cref="Do"/>; errno, or 0.</summary>
    internal int Try(ushort type, ushort flags, ReadOnlySpan<byte> header, Action<NetlinkRequest>? add = null)
    {
        var request = new NetlinkRequest(type, (ushort)(flags | NLM_F_ACK), header);
        add?.Invoke(request);
        Send(request.Finish(++_sequence));
        while (true)
        {
            var rest = Receive();
            while (TryTake(ref rest, out var kind, out var sequence, out var body))
            {
                if (sequence == _sequence && kind == NLMSG_ERROR)
                {
                    return -BitConverter.ToInt32(body);
                }
            }
        }
    }

    public void Dispose() => _socket.Dispose();

    private void Send(ReadOnlySpan<byte> message)
    {
        var sent = Libc.Write(_socket, message);
        if (sent < 0)
        {
            throw new LinuxException("write(rtnetlink)", -sent);
        }
    }

    private ReadOnlySpan<byte> Receive()
    {
        int count;
        while ((count = Libc.Read(_socket, _buffer)) == -Libc.EINTR)
        {
        }
        return count > 0 ? _buffer.AsSpan(0, count) : throw new LinuxException("read(rtnetlink)", count == 0 ? Libc.EIO : -count);
    }

    private static bool TryTake(ref ReadOnlySpan<byte> rest, out int type, out uint sequence, out ReadOnlySpan<byte> body)
    {
        type = 0;
        sequence = 0;
        body = default;
        if (rest.Length < NetlinkRequest.HeaderSize)
        {
            return false;
        }
        var length = MemoryMarshal.Read<int>(rest);
        if (length < NetlinkRequest.HeaderSize || length > rest.Length)
        {
            throw new LinuxException("read(rtnetlink)", Libc.EIO);
        }
        type = MemoryMarshal.Read<ushort>(rest[4..]);
        sequence = MemoryMarshal.Read<uint>(rest[8..]);
        body = rest[NetlinkRequest.HeaderSize..length];
        rest = rest[Math.Min(NetlinkRequest.Align(length), rest.Length)..];
        return true;
    }
}
