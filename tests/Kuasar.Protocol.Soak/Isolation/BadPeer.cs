using System.Net.Sockets;
using Google.Protobuf;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Soak;

/// <summary>A client as it should not be, on threads and a blocking socket of its own, so that it takes nothing of ours.</summary>
internal sealed class BadPeer : IDisposable
{
    internal const string Service = "kuasar.interop.Peer";

    /// <summary>What there is. <c>spin</c> does nothing to the server and takes a processor; <c>spin2</c> takes two.</summary>
    internal static readonly string[] Kinds = ["unread", "garbage", "flood", "streams", "spin", "spin2"];

    // Whoever is cut off comes again, but not at once: how fast a server can refuse is another question.
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly string _address;
    private readonly Action _round;
    private readonly Random _random = new(5);
    private readonly Thread[] _threads;
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
            "spin" or "spin2" => Spin,
            _ => throw new ArgumentException($"no bad peer '{kind}'", nameof(kind)),
        };
        _threads = [.. Enumerable.Range(0, kind == "spin2" ? 2 : 1).Select(_ => new Thread(Run) { IsBackground = true })];
        foreach (var thread in _threads)
        {
            thread.Start();
        }
    }

    /// <summary>Bytes sent so far.</summary>
    internal long Bytes => Interlocked.Read(ref _bytes);

    public void Dispose()
    {
        _stopped = true;
        Volatile.Read(ref _socket)?.Dispose();
        foreach (var thread in _threads)
        {
            thread.Join();
        }
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
                Thread.Sleep(Pause);
            }
        }
    }

    // Asks for a lot, and reads nothing of it.
    private void Unread()
    {
        for (uint id = 1; id < 1800; id += 2)
        {
            Send(Request(id, "Give", "65536"));
        }
        Rest();
    }

    // Frames, by the look of it, on one connection.
    private void Garbage()
    {
        using var frames = new MemoryStream();
        var data = new byte[100];
        for (var i = 0; i < 500; i++)
        {
            _random.NextBytes(data);
            frames.Write(Frame((uint)_random.Next(), (FrameType)_random.Next(6), (FrameFlags)_random.Next(8), data.AsSpan(0, _random.Next(100))));
        }
        var bytes = frames.ToArray();
        while (!_stopped)
        {
            Send(bytes);
            Drain();
        }
    }

    // As fast as it can, on one stream that is not read, and goes on when that has failed.
    private void Flood()
    {
        var frames = Enumerable.Range(0, 500).SelectMany(_ => Frame(1, FrameType.Data, FrameFlags.None, new byte[100])).ToArray();
        Send(Open(1));
        while (!_stopped)
        {
            Send(frames);
            Drain();
        }
    }

    private void Streams()
    {
        for (uint id = 1; id < 20_000 && !_stopped; id += 2)
        {
            Send(Open(id));
            Drain();
        }
        Rest();
    }

    // Until it is cut off.
    private void Rest()
    {
        while (!_stopped && !(_socket!.Poll(10_000, SelectMode.SelectRead) && _socket.Available == 0))
        {
            Thread.Sleep(10);
        }
        throw new SocketException((int)SocketError.ConnectionAborted);
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
