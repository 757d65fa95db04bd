using System.Buffers.Binary;
using System.Diagnostics;
using System.Net.Sockets;
using Google.Protobuf;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Shim.Hosting.Tests;

/// <summary>Answers control calls on a socket as a test wants it. Null: no answer, the connection stays open.</summary>
internal sealed class FakeSandboxer : IDisposable
{
    internal const string Address = "unix:///run/kuasar/runc/s/0123456789abcdef.sock";

    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly Func<string, byte[], byte[]?> _answer;
    private readonly List<Socket> _open = [];

    internal FakeSandboxer(string socket, Func<string, byte[], byte[]?> answer)
    {
        _answer = answer;
        Directory.CreateDirectory(Path.GetDirectoryName(socket)!);
        _listener.Bind(new UnixDomainSocketEndPoint(socket));
        _listener.Listen(16);
        new Thread(Serve) { IsBackground = true }.Start();
    }

    internal static byte[] Payload(IMessage response) => Field(2, response.ToByteArray());

    internal static byte[] Error(int code, string message)
    {
        using var stream = new MemoryStream();
        using var output = new CodedOutputStream(stream);
        output.WriteRawTag(0x08);
        output.WriteInt32(code);
        output.WriteRawTag(0x12);
        output.WriteString(message);
        output.Flush();
        return Field(1, stream.ToArray());
    }

    internal static byte[] Resolve(uint version = 3) =>
        Payload(new ResolveResponse { Address = Address, Version = version, Protocol = "ttrpc" });

    private static byte[] Field(int number, byte[] value)
    {
        using var stream = new MemoryStream();
        using var output = new CodedOutputStream(stream);
        output.WriteTag(number, WireFormat.WireType.LengthDelimited);
        output.WriteBytes(ByteString.CopyFrom(value));
        output.Flush();
        return stream.ToArray();
    }

    private void Serve()
    {
        try
        {
            while (true)
            {
                var client = _listener.Accept();
                _open.Add(client);
                if (TryReadRequest(client, out var method, out var payload) && _answer(method, payload) is { } answer)
                {
                    var frame = new byte[10 + answer.Length];
                    BinaryPrimitives.WriteUInt32BigEndian(frame, (uint)answer.Length);
                    frame[7] = 1;
                    frame[8] = 2;
                    answer.CopyTo(frame, 10);
                    // In two pieces: the other side must not take one read for one frame.
                    client.Send(frame.AsSpan(0, 7));
                    client.Send(frame.AsSpan(7));
                }
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
        }
    }

    private static bool TryReadRequest(Socket client, out string method, out byte[] payload)
    {
        method = "";
        payload = [];
        var header = new byte[10];
        if (!Fill(client, header))
        {
            return false;
        }
        Assert.Equal([0, 0, 0, 1, 1, 0], header[4..]);
        var data = new byte[BinaryPrimitives.ReadUInt32BigEndian(header)];
        if (!Fill(client, data))
        {
            return false;
        }
        var input = new CodedInputStream(data);
        while (input.ReadTag() is var tag and not 0)
        {
            switch (tag)
            {
                case 0x0A:
                    Assert.Equal("kuasar.control.v1.Control", input.ReadString());
                    break;
                case 0x12:
                    method = input.ReadString();
                    break;
                case 0x1A:
                    payload = input.ReadBytes().ToByteArray();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }
        return true;
    }

    private static bool Fill(Socket client, byte[] buffer)
    {
        for (var have = 0; have < buffer.Length;)
        {
            var n = client.Receive(buffer.AsSpan(have));
            if (n == 0)
            {
                return false;
            }
            have += n;
        }
        return true;
    }

    public void Dispose()
    {
        _listener.Dispose();
        _open.ForEach(socket => socket.Dispose());
    }

    internal const string ProgramArgument = "--be-a-sandboxer";

    /// <summary>This test program as a sandboxer. Counts itself in RUN/starts, and ends when RUN goes away.</summary>
    internal static int Program(string run, string mode)
    {
        File.AppendAllText(Path.Combine(run, "starts"), $"{Environment.ProcessId}\n");
        File.WriteAllText(Path.Combine(run, "environment"), string.Join('\n', Environment.GetEnvironmentVariables().Keys.Cast<string>()));
        File.WriteAllLines(Path.Combine(run, "fds"), Enumerable.Range(0, 3).Select(fd => new FileInfo($"/proc/self/fd/{fd}").LinkTarget!));
        Console.WriteLine("the fake sandboxer starts");
        if (mode == "die")
        {
            return 7;
        }
        // Long enough for a second start to come upon the first.
        Thread.Sleep(300);
        using var server = new FakeSandboxer(Path.Combine(run, "control.sock"), (_, _) => Resolve());
        for (var watch = Stopwatch.StartNew(); Directory.Exists(run) && watch.Elapsed < TimeSpan.FromSeconds(60);)
        {
            Thread.Sleep(50);
        }
        return 0;
    }
}
