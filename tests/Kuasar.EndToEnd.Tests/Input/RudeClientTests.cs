using Google.Protobuf;
using Kuasar.Protocol.Contracts.TaskV3;

namespace Kuasar.EndToEnd.Tests.Input;

/// <summary>Peers that do not speak the protocol, or stop in the middle of it.</summary>
[Collection(SandboxerTests.Name)]
public sealed class RudeClientTests(TestRun run, SandboxerNode own) : SandboxerTest(run, own)
{
    private const string Service = "containerd.task.v3.Task";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Garbage_ends_its_connection_and_no_other(bool control)
    {
        foreach (var garbage in (byte[][])["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray(), [.. Enumerable.Repeat((byte)0xFF, 4096)]])
        {
            using var connection = new RawConnection(control ? ControlSocket : TaskSocket);
            await connection.SendAsync(garbage);
            await connection.UntilClosedAsync();
            await OthersAreServedAsync();
        }
        // Frames of no type and without content.
        using var zeros = new RawConnection(control ? ControlSocket : TaskSocket);
        await zeros.SendAsync(new byte[4000]);
        await OthersAreServedAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_frame_that_holds_no_request_is_answered_InvalidArgument(bool control)
    {
        using var connection = new RawConnection(control ? ControlSocket : TaskSocket);
        await connection.SendAsync(RawConnection.Header(length: 8, stream: 1, type: 1));
        await connection.SendAsync(Enumerable.Repeat((byte)0xFF, 8).ToArray());
        Assert.Equal((1u, (int)StatusCode.InvalidArgument), await connection.ReadResponseAsync());
        await OthersAreServedAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_frame_that_is_too_large_is_answered_ResourceExhausted_and_the_next_call_is_served(bool control)
    {
        using var connection = new RawConnection(control ? ControlSocket : TaskSocket);
        await connection.SendAsync(RawConnection.Header(length: 5 << 20, stream: 1, type: 1));
        await connection.SendAsync(new byte[5 << 20]);
        Assert.Equal((1u, (int)StatusCode.ResourceExhausted), await connection.ReadResponseAsync());
        await connection.SendAsync(RawConnection.Request(3, control ? "kuasar.control.v1.Control" : Service, "Nonsense", new ConnectRequest(), "default"));
        Assert.Equal((3u, (int)StatusCode.Unimplemented), await connection.ReadResponseAsync());
        await OthersAreServedAsync();
    }

    [Fact]
    public async Task A_payload_that_cannot_be_read_is_answered_and_the_next_call_is_served()
    {
        using var connection = new RawConnection(TaskSocket);
        // A string of invalid length for an id.
        await connection.SendAsync(RawConnection.Request(1, Service, "State", ByteString.CopyFrom(0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F), "default"));
        var (stream, code) = await connection.ReadResponseAsync();
        Assert.Equal(1u, stream);
        Assert.NotEqual(0, code);
        await connection.SendAsync(RawConnection.Request(3, Service, "State", new StateRequest { Id = Bystander.Id }, "default"));
        Assert.Equal((3u, 0), await connection.ReadResponseAsync());
    }

    [Fact]
    public async Task Unknown_services_and_methods_are_answered_Unimplemented()
    {
        using var connection = new RawConnection(TaskSocket);
        await connection.SendAsync(RawConnection.Request(1, "containerd.task.v9.Task", "State", new StateRequest(), "default"));
        Assert.Equal((1u, (int)StatusCode.Unimplemented), await connection.ReadResponseAsync());
        await connection.SendAsync(RawConnection.Request(3, Service, "Dance", new StateRequest(), "default"));
        Assert.Equal((3u, (int)StatusCode.Unimplemented), await connection.ReadResponseAsync());
        // The older version of the same service is there, too.
        await connection.SendAsync(RawConnection.Request(5, "containerd.task.v2.Task", "State", new StateRequest { Id = Bystander.Id }, "default"));
        Assert.Equal((5u, 0), await connection.ReadResponseAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Half_a_frame_holds_up_nobody(bool control)
    {
        var socket = control ? ControlSocket : TaskSocket;
        using var half = new RawConnection(socket);
        await half.SendAsync(RawConnection.Header(length: 100, stream: 1, type: 1));
        await half.SendAsync(new byte[10]);
        using var less = new RawConnection(socket);
        await less.SendAsync(new byte[] { 0, 0, 0 });
        using var nothing = new RawConnection(socket);
        await OthersAreServedAsync();
    }

    [Fact]
    public async Task A_client_that_stops_reading_holds_up_nobody()
    {
        using var connection = new RawConnection(TaskSocket);
        var request = RawConnection.Request(1, Service, "State", new StateRequest { Id = Bystander.Id }, "default");
        var full = await Task.Run(() => connection.SendUntilFullAsync(Thousand(request), 100));
        await OthersAreServedAsync();
        Assert.True(full, "the server reads on and on, without an end of what it keeps for a client that does not read");
    }

    [Fact]
    public async Task A_thousand_connections_that_come_and_go_leave_nothing()
    {
        var before = Proc.FileDescriptors(Node.Sandboxer!.ProcessId);
        for (var i = 0; i < 1000; i++)
        {
            using var connection = new RawConnection(i % 2 == 0 ? TaskSocket : ControlSocket);
        }
        await OthersAreServedAsync();
        await Within.UntilAsync(() => Proc.FileDescriptors(Node.Sandboxer!.ProcessId) < before + 20, what: "the connections are closed");
    }

    // A thousand requests at a time; streams are odd and count up.
    private static IEnumerable<byte[]> Thousand(byte[] request)
    {
        for (var stream = 1u; ;)
        {
            var requests = new List<byte>();
            for (var i = 0; i < 1000; i++, stream += 2)
            {
                requests.AddRange(RawConnection.Header((uint)request.Length - RawConnection.HeaderSize, stream, type: 1));
                requests.AddRange(request.AsSpan(RawConnection.HeaderSize));
            }
            yield return [.. requests];
        }
    }
}
