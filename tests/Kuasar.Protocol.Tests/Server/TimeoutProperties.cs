using CsCheck;
using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Server;

public sealed class TimeoutProperties
{
    private const int Calls = 300; // each is a call through a connection

    private static readonly DateTime Start = new(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    /// <summary>Whatever time is left on the wire, the call is answered, and the handler sees that time as its deadline.</summary>
    [Fact]
    public async Task AnyTimeout_IsTheHandlersDeadline()
    {
        DateTime? seen = null;
        var service = new EchoService
        {
            OnUnary = (message, context) =>
            {
                seen = context.Deadline;
                return Task.FromResult(message);
            },
        };
        await using var server = new TestServer(service, new TtrpcServerOptions { TimeProvider = new ManualTime() });
        await using var peer = server.Raw();
        uint id = 1;
        await Arbitrary.Timeout.SampleAsync(async timeout =>
        {
            seen = null;
            await peer.SendRequest(id, "Unary", new EchoMessage(), timeout: timeout);
            var answer = await peer.Receive();
            Assert.Equal(id, answer.Id);
            id += 2;
            if (timeout < 0)
            {
                Assert.Equal((int)StatusCode.DeadlineExceeded, answer.Code);
                Assert.Null(seen);
                return;
            }
            Assert.Equal(0, answer.Code);
            // To a tick, which is 100 ns; and never at once.
            var expected = timeout == 0 ? DateTime.MaxValue : Start.AddTicks(Math.Max(1, timeout / 100));
            Assert.Equal(expected, seen);
        }, iter: Calls, threads: 1);
    }

    /// <summary>Whatever a caller's deadline, what travels is the time left of it; or nothing does, when that is over.</summary>
    [Fact]
    public async Task AnyDeadline_TravelsAsTheTimeLeft()
    {
        await using var client = new TestClient(new TtrpcClientOptions { TimeProvider = new ManualTime() });
        var deadlines = Gen.OneOf(
            Gen.Long[Start.Ticks + 1, DateTime.MaxValue.Ticks], Gen.Long[0, Start.Ticks],
            Gen.OneOf(1, Start.Ticks, Start.Ticks + 1, DateTime.MaxValue.Ticks - 1, DateTime.MaxValue.Ticks));
        await deadlines.SampleAsync(async ticks =>
        {
            var call = client.Echo.UnaryAsync(new EchoMessage(), deadline: new DateTime(ticks, DateTimeKind.Utc));
            if (ticks <= Start.Ticks)
            {
                await RpcAssert.Fails(StatusCode.DeadlineExceeded, call.ResponseAsync);
                return;
            }
            var request = await client.Peer.Receive();
            await client.Peer.Respond(request.Id, new EchoMessage());
            await call.ResponseAsync.Within();
            var left = (decimal)(ticks - Start.Ticks) * 100;
            var expected = ticks == DateTime.MaxValue.Ticks ? 0 : Math.Min(left, long.MaxValue);
            // Within what a double keeps of it.
            Assert.InRange(request.AsRequest.TimeoutNano - expected, -expected / (1L << 50) - 1, expected / (1L << 50) + 1);
        }, iter: Calls, threads: 1);
    }
}
