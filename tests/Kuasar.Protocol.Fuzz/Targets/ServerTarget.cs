using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Fuzz.Engine;
using Kuasar.Protocol.Fuzz.Protos;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>
/// A whole server at the other end of a connection. Whatever came before: a call that follows is answered, the connection ends
/// when the peer closes it, its handlers end, and no stream is left.
/// </summary>
internal sealed class ServerTarget : FuzzTarget
{
    /// <summary>Largest message, in bytes.</summary>
    internal const int Limit = 4096;

    // Most errors are longer than this.
    private const int TinyLimit = 64;

    /// <summary>Bits of <see cref="Plan.Mode"/>.</summary>
    private const byte NeverRead = 1, Abort = 2, LargeLimits = 4, Stop = 8, ReadLate = 16, TinyMessages = 32;

    // Small enough for small inputs to reach; but a peer that reads must not be taken for one that floods.
    private static readonly TtrpcServerOptions Small = new()
    {
        MaxMessageSize = Limit, MaxConcurrentCallsPerConnection = 8, StreamQueueLimit = 1024, MaxReceivedBytesPerConnection = 2048, WriteBufferLimit = 64 << 10,
    };

    private static readonly TtrpcServerOptions Flooded = Small with { WriteBufferLimit = 512 };
    private static readonly TtrpcServerOptions Tiny = Small with { MaxMessageSize = TinyLimit };
    private static readonly TtrpcServerOptions Large = new();

    internal override string Name => "server";

    internal override long AllocationBound(int length) => (1 << 20) + (1024L * length);

    internal override bool IsExpected(Exception unobserved) => unobserved is HandlerCallbackException;

    internal override IEnumerable<byte[]> Seeds() =>
        from mode in new byte[] { 0, NeverRead, Abort, LargeLimits, Stop, ReadLate, TinyMessages, Pair.BySocket }
        from bytes in new[] { SeedInputs.Requests(), SeedInputs.Oddities(), [.. SeedInputs.Requests(), .. SeedInputs.Oddities()] }
        select (byte[])[mode, mode, .. bytes];

    internal override async ValueTask RunAsync(byte[] input)
    {
        var plan = Plan.Of(input);
        var reads = (plan.Mode & (NeverRead | ReadLate)) == 0;
        var options = !reads ? Flooded : (plan.Mode & LargeLimits) != 0 ? Large : (plan.Mode & TinyMessages) != 0 ? Tiny : Small;
        var service = new Service();
        var server = new TtrpcServer(options);
        S.BindService(server.Services, service);
        var (client, accepted) = await Pair.CreateAsync(plan);
        var serving = server.ServeAsync(accepted, default);
        await using (server)
        {
            await using var peer = new Peer(client);
            if (reads)
            {
                peer.Read();
            }
            var plain = await peer.FeedAsync(plan, options.MaxMessageSize);
            if ((plan.Mode & ReadLate) != 0)
            {
                peer.Read();
            }
            if ((plan.Mode & Stop) != 0)
            {
                await server.StopAsync(TimeSpan.Zero);
            }
            else if (plain is { Bad: false, Missing: 0 } && reads)
            {
                await ProbeAsync(peer, plain);
            }
            if ((plan.Mode & Abort) != 0)
            {
                client.Abort();
            }
            await peer.CloseAsync();
            await serving;
            await Until.TrueAsync(() => service.Running == 0, "every handler has ended");
            await Until.TrueAsync(
                () => service.Connection is not { } connection || connection is { Running: 0, Streams.Count: 0, Received.Held: 0 }, "no stream and no byte is left");
            peer.CheckReceived(options.MaxMessageSize, serverSide: true);
        }
        FuzzFailure.Unless(server.ActiveConnections == 0, "the server still knows a connection");
    }

    private static async ValueTask ProbeAsync(Peer peer, PlainFrames plain)
    {
        var id = uint.MaxValue;
        while (plain.Frames.Exists(frame => frame.Id == id))
        {
            id -= 2;
        }
        await peer.SendAsync(SeedInputs.Request(id, "U", FrameFlags.None, new M { Deed = 100 }));
        var answer = Response.Parser.ParseFrom(await peer.AnswerAsync(id));
        // Streams that wait for more may have taken all the places.
        FuzzFailure.Unless(
            answer.Status is null or { Code: (int)Grpc.Core.StatusCode.ResourceExhausted }, $"the call after all that failed: {answer}");
    }
}
