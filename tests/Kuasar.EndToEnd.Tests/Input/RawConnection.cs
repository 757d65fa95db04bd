using System.Buffers.Binary;
using System.Net.Sockets;
using Google.Protobuf;

namespace Kuasar.EndToEnd.Tests.Input;

/// <summary>A connection to a ttrpc server that can be rude.</summary>
internal sealed class RawConnection : IDisposable
{
    internal const int HeaderSize = 10;
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    internal RawConnection(string path) => _socket.Connect(new UnixDomainSocketEndPoint(path));

    internal Task SendAsync(ReadOnlyMemory<byte> bytes) => _socket.SendAsync(bytes).AsTask().BoundAsync();

    /// <summary>Sends so many of them until the server takes no more or hangs up; false if it took them all.</summary>
    internal async Task<bool> SendUntilFullAsync(IEnumerable<byte[]> blocks, int count)
    {
        foreach (var block in blocks.Take(count))
        {
            try
            {
                await _socket.SendAsync(block).WaitAsync(TimeSpan.FromSeconds(2));
            }
            catch (Exception e) when (e is TimeoutException or SocketException)
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>A response's stream and what its status says: code 0 for a success.</summary>
    internal async Task<(uint Stream, int Code)> ReadResponseAsync()
    {
        var header = await ReadAsync(HeaderSize);
        var data = await ReadAsync((int)BinaryPrimitives.ReadUInt32BigEndian(header));
        return (BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(4)), Code(data));
    }

    /// <summary>Waits for the server to close the connection, whatever it still says.</summary>
    internal async Task UntilClosedAsync()
    {
        var buffer = new byte[4096];
        try
        {
            while (await _socket.ReceiveAsync(buffer.AsMemory()).AsTask().BoundAsync(what: "the server closes the connection") > 0)
            {
            }
        }
        catch (SocketException)
        {
            // That is closed, too.
        }
    }

    /// <summary>A request with its header.</summary>
    internal static byte[] Request(uint stream, string service, string method, IMessage message, string containerdNamespace) =>
        Request(stream, service, method, message.ToByteString(), containerdNamespace);

    internal static byte[] Request(uint stream, string service, string method, ByteString payload, string containerdNamespace)
    {
        using var data = new MemoryStream();
        using (var output = new CodedOutputStream(data, leaveOpen: true))
        {
            Write(output, 1, ByteString.CopyFromUtf8(service));
            Write(output, 2, ByteString.CopyFromUtf8(method));
            Write(output, 3, payload);
            using var pair = new MemoryStream();
            using (var inner = new CodedOutputStream(pair, leaveOpen: true))
            {
                Write(inner, 1, ByteString.CopyFromUtf8(SandboxerTest.NamespaceHeader));
                Write(inner, 2, ByteString.CopyFromUtf8(containerdNamespace));
            }
            Write(output, 5, ByteString.CopyFrom(pair.ToArray()));
        }
        return [.. Header((uint)data.Length, stream, type: 1), .. data.ToArray()];
    }

    internal static byte[] Header(uint length, uint stream, byte type)
    {
        var header = new byte[HeaderSize];
        BinaryPrimitives.WriteUInt32BigEndian(header, length);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(4), stream);
        header[8] = type;
        return header;
    }

    public void Dispose() => _socket.Dispose();

    private static void Write(CodedOutputStream output, int field, ByteString value)
    {
        output.WriteTag(field, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(value);
    }

    // Response { google.rpc.Status status = 1; bytes payload = 2; }, Status { int32 code = 1; … }
    private static int Code(byte[] response)
    {
        var input = new CodedInputStream(response);
        while (input.ReadTag() is > 0 and var tag)
        {
            if (WireFormat.GetTagFieldNumber(tag) != 1)
            {
                input.SkipLastField();
                continue;
            }
            var status = input.ReadBytes().CreateCodedInput();
            while (status.ReadTag() is > 0 and var inner)
            {
                if (WireFormat.GetTagFieldNumber(inner) == 1)
                {
                    return status.ReadInt32();
                }
                status.SkipLastField();
            }
        }
        return 0;
    }

    private async Task<byte[]> ReadAsync(int count)
    {
        var bytes = new byte[count];
        for (var done = 0; done < count;)
        {
            var read = await _socket.ReceiveAsync(bytes.AsMemory(done)).AsTask().BoundAsync(what: "a response");
            done += read > 0 ? read : throw new EndOfStreamException("the server has closed the connection");
        }
        return bytes;
    }
}
