using Google.Protobuf;
using Grpc.Core;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Fuzz.Engine;
using Kuasar.Protocol.Fuzz.Protos;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>
/// A whole client with calls of every kind under way, whose server sends the input. Whatever it sends: each call ends once, with
/// its messages or an RpcException; a call that follows and is answered is well; no stream is left.
/// </summary>
internal sealed class ClientTarget : FuzzTarget
{
    /// <summary>Largest message, in bytes.</summary>
    private const int Limit = 4096;

    /// <summary>Bits of <see cref="Plan.Mode"/>.</summary>
    private const byte ReadLate = 1, Abort = 2, LargeLimits = 4, CancelSome = 8;

    // What the calls below get: ids are odd and increase.
    private const uint ProbeId = 11;

    private static readonly TtrpcClientOptions Small = new() { MaxMessageSize = Limit, StreamQueueLimit = 512, WriteBufferLimit = 2048 };
    private static readonly TtrpcClientOptions Large = new();

    internal override string Name => "client";

    internal override long AllocationBound(int length) => (1 << 20) + (1024L * length);

    internal override IEnumerable<byte[]> Seeds() =>
        from mode in new byte[] { 0, ReadLate, Abort, LargeLimits, CancelSome, Pair.BySocket }
        from bytes in new[] { SeedInputs.Responses(), SeedInputs.Oddities(), [.. SeedInputs.Oddities(), .. SeedInputs.Responses()] }
        select (byte[])[mode, mode, .. bytes];

    internal override async ValueTask RunAsync(byte[] input)
    {
        var plan = Plan.Of(input);
        var options = (plan.Mode & LargeLimits) != 0 ? Large : Small;
        var (ours, theirs) = await Pair.CreateAsync(plan);
        await using var peer = new Peer(theirs);
        peer.Read();
        await using var ttrpc = new TtrpcClient(ours, options);
        var client = new S.SClient(ttrpc);
        using var fed = new CancellationTokenSource();
        var readFrom = (plan.Mode & ReadLate) != 0 ? Task.Delay(Timeout.Infinite, fed.Token) : Task.CompletedTask;

        var unary = client.UAsync(new M { Blob = ByteString.CopyFrom(1) });
        var down = client.D(new M(), new Metadata { { "k", "v" } });
        var up = client.C();
        var both = client.B(deadline: DateTime.UtcNow.AddMinutes(10));
        var second = client.UAsync(new M(), cancellationToken: fed.Token);
        Task[] calls =
        [
            EndAsync(unary.ResponseAsync), EndAsync(second.ResponseAsync), EndAsync(up.ResponseAsync),
            EndAsync(WriteAsync(up.RequestStream)), EndAsync(WriteAsync(both.RequestStream)),
            EndAsync(ReadAsync(down.ResponseStream, readFrom)), EndAsync(ReadAsync(both.ResponseStream, readFrom)),
        ];

        var plain = await peer.FeedAsync(plan, options.MaxMessageSize);
        if (plain is { Bad: false, Missing: 0 } && !plain.Frames.Exists(static frame => frame.Id == ProbeId))
        {
            await ProbeAsync(client, peer);
        }
        if ((plan.Mode & CancelSome) != 0)
        {
            down.Dispose();
            up.Dispose();
            await fed.CancelAsync();
        }
        if ((plan.Mode & Abort) != 0)
        {
            theirs.Abort();
        }
        await peer.CloseAsync();
        await fed.CancelAsync();
        await Task.WhenAll(calls);
        await Until.TrueAsync(() => ttrpc.Closed.IsCancellationRequested, "the client says that it is closed");
        FuzzFailure.Unless(ttrpc.ActiveStreams == 0, $"{ttrpc.ActiveStreams} streams are left");
        await FailsAsync(client);
        peer.CheckReceived(options.MaxMessageSize, serverSide: false);
    }

    private static async ValueTask ProbeAsync(S.SClient client, Peer peer)
    {
        var message = new M { Deed = 100, Blob = ByteString.CopyFrom(7) };
        using var probe = client.UAsync(message);
        await peer.SendAsync(SeedInputs.Response(ProbeId, new Response { Payload = message.ToByteString() }));
        var answer = await probe.ResponseAsync;
        FuzzFailure.Unless(answer.Equals(message), $"the call after all that got {answer}");
    }

    private static async ValueTask FailsAsync(S.SClient client)
    {
        try
        {
            await client.UAsync(new M());
        }
        catch (RpcException error) when (error.StatusCode == StatusCode.Unavailable)
        {
            return;
        }
        throw new FuzzFailure("a call on a closed connection did not fail");
    }

    private static async Task EndAsync(Task call)
    {
        try
        {
            await call;
        }
        catch (RpcException error)
        {
            FuzzFailure.Unless(error.StatusCode != StatusCode.OK, "an error without a code");
            // What a caller looks at.
            _ = error.Trailers.GetValueBytes("grpc-status-details-bin");
        }
    }

    private static async Task ReadAsync(IAsyncStreamReader<M> stream, Task from)
    {
        await from.ContinueWith(static _ => { }, TaskScheduler.Default);
        while (await stream.MoveNext(default))
        {
            _ = stream.Current.Deed;
        }
    }

    private static async Task WriteAsync(IClientStreamWriter<M> stream)
    {
        try
        {
            await stream.WriteAsync(new M());
            await stream.WriteAsync(new M { Blob = ByteString.CopyFrom(2) });
            await stream.CompleteAsync();
        }
        catch (InvalidOperationException)
        {
            // The server has ended the call well before.
        }
    }
}
