using System.Buffers;
using System.IO.Pipelines;
using Google.Protobuf;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Protos;

namespace Kuasar.Protocol.Tests.Support;

internal sealed record RawFrame(uint Id, FrameType Type, FrameFlags Flags, byte[] Data)
{
    public Request AsRequest => Request.Parser.ParseFrom(Data);
    public Response AsResponse => Response.Parser.ParseFrom(Data);
    public EchoMessage AsMessage => EchoMessage.Parser.ParseFrom(Data);
    public int Code => AsResponse.Status?.Code ?? 0;
}

/// <summary>The other end of a connection, frame by frame; Google.Protobuf does the envelopes, so nothing is tested by itself.</summary>
internal sealed class RawPeer(Connection connection) : IAsyncDisposable
{
    public const string Service = "kuasar.test.Echo";
    private readonly FrameReader _reader = new();

    public Connection Connection => connection;

    public async Task SendBytes(ReadOnlyMemory<byte> bytes) =>
        await connection.Transport.Output.WriteAsync(bytes).AsTask().WaitAsync(Wait.Limit);

    public Task Send(uint id, FrameType type, FrameFlags flags, byte[] data) => SendBytes(Frame(id, type, flags, data));

    public Task SendRequest(
        uint id, string method, EchoMessage? message = null, FrameFlags flags = 0, string service = Service, long timeout = 0)
    {
        var request = new Request { Service = service, Method = method, TimeoutNano = timeout };
        request.Payload = message?.ToByteString() ?? ByteString.Empty;
        return Send(id, FrameType.Request, flags, request.ToByteArray());
    }

    public Task SendData(uint id, EchoMessage message, FrameFlags flags = 0) =>
        Send(id, FrameType.Data, flags, message.ToByteArray());

    public Task SendEnd(uint id) => Send(id, FrameType.Data, FrameFlags.EndStream, []);

    public Task Respond(uint id, EchoMessage message) =>
        Send(id, FrameType.Response, 0, new Response { Payload = message.ToByteString() }.ToByteArray());

    public async Task<RawFrame> Receive() => await TryReceive() ?? throw new EndOfStreamException();

    /// <summary>Null at the end of the connection.</summary>
    public async Task<RawFrame?> TryReceive()
    {
        while (true)
        {
            ReadResult result;
            try
            {
                result = await connection.Transport.Input.ReadAsync().AsTask().WaitAsync(Wait.Limit);
            }
            catch (Exception error) when (error is IOException or ObjectDisposedException)
            {
                return null; // reset, or our own disposal: how a socket tells
            }
            var buffer = result.Buffer;
            var found = _reader.TryRead(ref buffer, FrameReader.MaxLength, out var frame);
            var copy = found ? new RawFrame(frame.StreamId, frame.Type, frame.Header.Flags, frame.Data.ToArray()) : null;
            // One frame a time: the rest stays unexamined.
            connection.Transport.Input.AdvanceTo(buffer.Start, found ? buffer.Start : buffer.End);
            if (copy is not null)
            {
                return copy;
            }
            if (result.IsCompleted)
            {
                return null;
            }
        }
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    public static byte[] Frame(uint id, FrameType type, FrameFlags flags, ReadOnlySpan<byte> data)
    {
        var bytes = new byte[FrameHeader.Size + data.Length];
        new FrameHeader((uint)data.Length, id, type, flags).Write(bytes);
        data.CopyTo(bytes.AsSpan(FrameHeader.Size));
        return bytes;
    }
}
