using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Google.Protobuf;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary>
/// One unary ttrpc call to the sandboxer's control service on a blocking socket. A frame:
/// <code>
/// +-----------------+----------------+---------+----------+----------
/// | data length u32 | stream id u32  | type u8 | flags u8 | data
/// +-----------------+----------------+---------+----------+----------
/// 0                 4                8         9          10    big endian; type 1 is a request, 2 a response
/// </code>
/// </summary>
internal sealed class SandboxerConnection : IDisposable
{
    private const int HeaderLength = 10, StreamIdOffset = 4, TypeOffset = 8, MaxData = 4 << 20;
    private const byte RequestType = 1, ResponseType = 2;
    private const uint StreamId = 1;
    private const string Service = "kuasar.control.v1.Control";

    private readonly SafeFileHandle _socket;
    private readonly ShimSettings _settings;
    private readonly Deadline _deadline;

    private SandboxerConnection(SafeFileHandle socket, ShimSettings settings, Deadline deadline)
    {
        _socket = socket;
        _settings = settings;
        _deadline = deadline;
    }

    /// <summary>Null when nobody answers, with errno in <see cref="Libc.LastError"/>.</summary>
    internal static SandboxerConnection? TryOpen(ShimSettings settings, TimeSpan timeout)
    {
        var deadline = Deadline.After(timeout);
        return Libc.TryConnect(settings.Paths.ControlSocket, timeout) is { } socket
            ? new SandboxerConnection(socket, settings, deadline)
            : null;
    }

    /// <exception cref="SandboxerDownException">No answer, in time or at all.</exception>
    internal static SandboxerConnection Open(ShimSettings settings, TimeSpan timeout) =>
        TryOpen(settings, timeout) ?? throw Down(settings, Libc.LastError);

    /// <summary>Asks, and reads the answer into <paramref name="response"/>. Once in a connection.</summary>
    /// <exception cref="SandboxerDownException">No answer, in time or at all.</exception>
    /// <exception cref="SandboxerErrorException">The answer is an error.</exception>
    internal void Call(string method, IMessage request, IMessage response)
    {
        Send(EncodeRequest(method, request, (long)(_deadline.Remaining.TotalMilliseconds * 1_000_000)));

        var buffer = new byte[1024];
        var have = 0;
        Fill(ref buffer, ref have, HeaderLength);
        var length = BinaryPrimitives.ReadUInt32BigEndian(buffer);
        if (length > MaxData || buffer[TypeOffset] != ResponseType || BinaryPrimitives.ReadUInt32BigEndian(buffer.AsSpan(StreamIdOffset)) != StreamId)
        {
            throw Down("what it sends is not ttrpc");
        }
        Fill(ref buffer, ref have, HeaderLength + (int)length);
        try
        {
            Decode(method, new CodedInputStream(buffer, HeaderLength, (int)length), response);
        }
        catch (InvalidProtocolBufferException)
        {
            throw Down("its answer cannot be read");
        }
    }

    // ttrpc.Request: service 1, method 2, payload 3, timeout_nano 4.
    private static byte[] EncodeRequest(string method, IMessage request, long timeout)
    {
        var payload = request.CalculateSize();
        var size = 4 + CodedOutputStream.ComputeStringSize(Service) + CodedOutputStream.ComputeStringSize(method)
            + CodedOutputStream.ComputeLengthSize(payload) + payload + CodedOutputStream.ComputeInt64Size(timeout);
        var frame = new byte[HeaderLength + size];
        BinaryPrimitives.WriteUInt32BigEndian(frame, (uint)size);
        BinaryPrimitives.WriteUInt32BigEndian(frame.AsSpan(StreamIdOffset), StreamId);
        frame[TypeOffset] = RequestType;
        using var output = new CodedOutputStream(new MemoryStream(frame, HeaderLength, size), size);
        output.WriteRawTag(0x0A);
        output.WriteString(Service);
        output.WriteRawTag(0x12);
        output.WriteString(method);
        output.WriteRawTag(0x1A);
        output.WriteMessage(request);
        output.WriteRawTag(0x20);
        output.WriteInt64(timeout);
        output.Flush();
        return frame;
    }

    // ttrpc.Response: status 1 (google.rpc.Status: code 1, message 2), payload 2.
    private static void Decode(string method, CodedInputStream input, IMessage response)
    {
        while (input.ReadTag() is var tag and not 0)
        {
            switch (tag)
            {
                case 0x0A:
                    DecodeStatus(method, input.ReadBytes().CreateCodedInput());
                    break;
                case 0x12:
                    response.MergeFrom(input.ReadBytes());
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
    }

    private static void DecodeStatus(string method, CodedInputStream input)
    {
        var code = 0;
        var message = "";
        while (input.ReadTag() is var tag and not 0)
        {
            switch (tag)
            {
                case 0x08:
                    code = input.ReadInt32();
                    break;
                case 0x12:
                    message = input.ReadString();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
        if (code != 0)
        {
            throw new SandboxerErrorException($"the sandboxer refuses {method}: {(message.Length > 0 ? message : $"code {code}")}");
        }
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (_deadline.IsOver)
            {
                throw Down("no answer in time");
            }
            var n = Libc.Send(_socket, bytes, _deadline.Remaining);
            if (n < 0 && n is not (-Libc.EINTR or -Libc.EAGAIN))
            {
                throw Down(_settings, -n);
            }
            bytes = bytes[Math.Max(0, n)..];
        }
    }

    private void Fill(ref byte[] buffer, ref int have, int wanted)
    {
        if (buffer.Length < wanted)
        {
            Array.Resize(ref buffer, wanted);
        }
        while (have < wanted)
        {
            if (_deadline.IsOver)
            {
                throw Down("no answer in time");
            }
            switch (Libc.Receive(_socket, buffer.AsSpan(have), _deadline.Remaining))
            {
                case > 0 and var n:
                    have += n;
                    break;
                case 0:
                    throw Down("it has closed the connection");
                case -Libc.EINTR or -Libc.EAGAIN:
                    break;
                case var error:
                    throw Down(_settings, -error);
            }
        }
    }

    private SandboxerDownException Down(string reason) => Down(_settings, reason);

    private static SandboxerDownException Down(ShimSettings settings, int errno)
    {
        var text = Marshal.GetPInvokeErrorMessage(errno);
        return Down(settings, char.ToLowerInvariant(text[0]) + text[1..]);
    }

    private static SandboxerDownException Down(ShimSettings settings, string reason) => new(
        $"the sandboxer of domain {settings.Options.Sandboxer} does not answer on {settings.Paths.ControlSocket}: {reason}; is {settings.Options.ShortName}-sandboxer running?");

    public void Dispose() => _socket.Dispose();
}
