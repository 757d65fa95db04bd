using System.Buffers.Binary;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Kuasar.Benchmarks.Load;

/// <summary>The server's part, the same code under ttrpc and under gRPC.</summary>
public sealed class BenchService : Bench.BenchBase
{
    private static readonly BytesValue s_nothing = new();

    public override Task<BytesValue> Echo(BytesValue request, ServerCallContext context) => Task.FromResult(request);

    public override async Task Down(BytesValue request, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context)
    {
        var (count, size) = StreamOrder.Read(request);
        var message = Message.OfSize(size);
        for (var i = 0; i < count; i++)
        {
            await responseStream.WriteAsync(message).ConfigureAwait(false);
        }
    }

    public override async Task<BytesValue> Up(IAsyncStreamReader<BytesValue> requestStream, ServerCallContext context)
    {
        while (await requestStream.MoveNext(default).ConfigureAwait(false))
        {
        }
        return s_nothing;
    }

    public override async Task Both(
        IAsyncStreamReader<BytesValue> requestStream, IServerStreamWriter<BytesValue> responseStream, ServerCallContext context)
    {
        while (await requestStream.MoveNext(default).ConfigureAwait(false))
        {
            await responseStream.WriteAsync(requestStream.Current).ConfigureAwait(false);
        }
    }

    public override Task<BytesValue> Allocated(BytesValue request, ServerCallContext context)
    {
        var bytes = new byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, GC.GetTotalAllocatedBytes(precise: true));
        return Task.FromResult(new BytesValue { Value = UnsafeByteOperations.UnsafeWrap(bytes) });
    }
}
