using System.Net.Sockets;
using Google.Protobuf;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Soak;

/// <summary>A client as it should not be, on threads and a blocking socket of its own, so that it takes nothing of ours.</summary>
internal sealed class BadPeer : IDisposable
{
    internal const string Service = "kuasar.interop.Peer";

    /// <summary>What there is; <c>spin</c> does nothing to the server, and takes as much processor.</summary>
    internal static readonly string[] Kinds = ["unread", "garbage", "flood", "streams", "spin"];

    private readonly string _address;
    private readonly Action _round;
    private readonly Random _random = new(5);
    private readonly Thread _thread;
    private Socket? _socket;
    private volatile bool _stopped;
    private long _bytes;

    internal BadPeer(string kind, string address)
    {
        _address = address;
        _round = kind switch
        {
            "unread" => Unread,
            "garbage" => Garbage,
            "flood" => Flood,
            "streams" => Streams,
            "spin" => Spin,
            _ => throw new ArgumentException($"no bad peer '{kind}'", nameof(kind)),
        };
        _thread = new Thread(Run) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>Bytes sent so far.</summary>
    internal long Bytes => Interlocked.Read(ref _bytes);

    public void Dispose()
    {
        _stopped = true;
        Volatile.Read(ref _socket)?.Dispose();
        _thread.Join();
    }

    /// <summary>One frame.</summary>
    internal static byte[] Frame(uint id, FrameType type, FrameFlags flags, ReadOnlySpan<byte> data)
    {
        var bytes = new byte[FrameHeader.Size + data.Length];
        new FrameHeader((uint)data.Length, id, type, flags).Write(bytes);
        data.CopyTo(bytes.AsSpan(FrameHeader.Size));
        return bytes;
    }

    /// <summary>A request of the peers' service.</summary>
    internal static byte[] Request(uint id, string method, string text, FrameFlags flags = FrameFlags.None) => Frame(
        id, FrameType.Request, flags,
        new Request { Service = Service, Method = method, Payload = Messages.Text(text).ToByteString() }.ToByteArray());

    /// <summary>The request that opens a stream whose handler reads nothing.</summary>
    internal static byte[] Open(uint id) => Frame(
        id, FrameType.Request, FrameFlags.OpenStream, new Request { Service = Service, Method = "Idle" }.ToByteArray());

    internal static Socket Connect(string address)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        socket.Connect(new UnixDomainSocketEndPoint(address));
        return socket;
    }

    private void Run()
    {
        while (!_stopped)
        {
            try
            {
                using var socket = Connect(_address);
                Volatile.Write(ref _socket, socket);
                while (!_stopped)
                {
                    _round();
                }
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException)
            {
                // Cut off, as it deserves; it comes again.
            }
        }
    }

    // Asks for more and more, and reads nothing of it.
    private void Unread()
    {
        for (uint id = 1; !_stopped; id += 2)
        {
            Send(Request(id, "Give", "65536"));
        }
    }

    private void Garbage()
    {
        var bytes = new byte[64 << 10];
        _random.NextBytes(bytes);
        // Frames, by the look of it, half of the time.
        bytes[0] = (byte)(_random.Next(2) * 0x48);
        Send(bytes);
        Drain();
    }

    // As fast as it can, on a stream that is not read; on a new one when that has failed.
    private void Flood()
    {
        var frames = Enumerable.Range(0, 500).SelectMany(_ => Frame(1, FrameType.Data, FrameFlags.None, new byte[100])).ToArray();
        Send(Open(1));
        for (var i = 0; i < 200; i++)
        {
            Send(frames);
            Drain();
        }
    }

    private void Streams()
    {
        for (uint id = 1; id < 20_000; id += 2)
        {
            Send(Open(id));
            Drain();
        }
        throw new SocketException((int)SocketError.ConnectionAborted); // and again, on a new connection
    }

    private void Spin()
    {
        for (var i = 0; i < 1000; i++)
        {
            Thread.SpinWait(100);
        }
    }

    private void Send(byte[] bytes) => Interlocked.Add(ref _bytes, _socket!.Send(bytes));

    private void Drain()
    {
        Span<byte> scratch = stackalloc byte[4096];
        while (_socket!.Available > 0)
        {
            _socket.Receive(scratch);
        }
    }
}
