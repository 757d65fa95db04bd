using System.Text;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace GuestAgent.Network;

/// <summary>
/// Requests to the kernel's rtnetlink, one at a time, each answered before the next. A message, native endian:
/// <code>
/// u32 length  u16 type  u16 flags  u32 sequence  u32 port    then a struct of the type, then attributes
/// u16 length  u16 type  value, padded to 4                   an attribute
/// </code>
/// </summary>
internal sealed class Netlink : IDisposable
{
    internal const ushort NewLink = 16, NewAddress = 20, DeleteAddress = 21, GetAddress = 22, NewRoute = 24;

    internal const ushort Create = 0x400, Replace = 0x100, Dump = 0x300;

    private const int HeaderSize = 16;
    private const ushort Request = 1, Ack = 4, Error = 2, Done = 3;

    private readonly SafeFileHandle _socket = Libc.OpenNetlink(protocol: 0);
    private readonly byte[] _received = new byte[64 * 1024];
    private uint _sequence;

    /// <summary>One request, which changes something.</summary>
    /// <exception cref="LinuxException">What the kernel answered.</exception>
    internal void Change(string what, ushort type, ushort flags, ReadOnlySpan<byte> body) => Send(what, type, (ushort)(flags | Ack), body, null);

    /// <summary>One request for a list; each entry without its header.</summary>
    internal List<byte[]> List(string what, ushort type, ReadOnlySpan<byte> body)
    {
        List<byte[]> entries = [];
        Send(what, type, Dump, body, entry => entries.Add(entry.ToArray()));
        return entries;
    }

    private void Send(string what, ushort type, ushort flags, ReadOnlySpan<byte> body, Action<ReadOnlySpan<byte>>? onEntry)
    {
        var message = new byte[HeaderSize + body.Length];
        BitConverter.TryWriteBytes(message, message.Length);
        BitConverter.TryWriteBytes(message.AsSpan(4), type);
        BitConverter.TryWriteBytes(message.AsSpan(6), (ushort)(flags | Request));
        BitConverter.TryWriteBytes(message.AsSpan(8), ++_sequence);
        body.CopyTo(message.AsSpan(HeaderSize));
        Libc.WriteAll(_socket, message, what);
        while (!Receive(what, onEntry))
        {
        }
    }

    /// <summary>True after the last answer to the request.</summary>
    private bool Receive(string what, Action<ReadOnlySpan<byte>>? onEntry)
    {
        var count = Libc.Read(_socket, _received);
        if (count < 0)
        {
            return count == -Libc.EINTR ? false : throw new LinuxException(what, -count);
        }
        var rest = _received.AsSpan(0, count);
        while (rest.Length >= HeaderSize)
        {
            var length = BitConverter.ToInt32(rest);
            var body = rest[HeaderSize..length];
            switch (BitConverter.ToUInt16(rest[4..]))
            {
                case Error when BitConverter.ToInt32(body) is var error && error != 0:
                    throw new LinuxException(what, -error);
                case Error or Done:
                    return true;
                default:
                    onEntry?.Invoke(body);
                    break;
            }
            rest = rest[Math.Min(Align(length), rest.Length)..];
        }
        return false;
    }

    internal static int Align(int length) => (length + 3) & ~3;

    /// <summary>The attributes behind a struct of this size.</summary>
    internal static IEnumerable<(ushort Type, byte[] Value)> Attributes(byte[] entry, int structSize)
    {
        for (var at = structSize; at + 4 <= entry.Length;)
        {
            var length = BitConverter.ToUInt16(entry, at);
            if (length < 4)
            {
                yield break;
            }
            yield return ((ushort)(BitConverter.ToUInt16(entry, at + 2) & 0x3FFF), entry[(at + 4)..(at + length)]);
            at += Align(length);
        }
    }

    public void Dispose() => _socket.Dispose();
}

/// <summary>A request's body: its struct, then attributes.</summary>
internal sealed class NetlinkBody
{
    private readonly List<byte> _bytes = [];

    internal NetlinkBody(ReadOnlySpan<byte> header) => _bytes.AddRange(header);

    internal ReadOnlySpan<byte> Bytes => System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_bytes);

    internal NetlinkBody Add(ushort type, ReadOnlySpan<byte> value)
    {
        Span<byte> header = stackalloc byte[4];
        BitConverter.TryWriteBytes(header, (ushort)(4 + value.Length));
        BitConverter.TryWriteBytes(header[2..], type);
        _bytes.AddRange(header);
        _bytes.AddRange(value);
        while (_bytes.Count % 4 != 0)
        {
            _bytes.Add(0);
        }
        return this;
    }

    internal NetlinkBody Add(ushort type, int value) => Add(type, BitConverter.GetBytes(value));

    internal NetlinkBody Add(ushort type, string value) => Add(type, Encoding.UTF8.GetBytes(value + "\0"));
}
