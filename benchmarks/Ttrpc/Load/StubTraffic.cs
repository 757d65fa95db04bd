using System.Buffers.Binary;
using System.Diagnostics;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Kuasar.Benchmarks.Load;

/// <summary>The client's part, over the generated stub, the same code under ttrpc and under gRPC.</summary>
public sealed class StubTraffic
{
    private readonly Bench.BenchClient _client;
    private readonly Workload _workload;
    private readonly BytesValue _message;

    private StubTraffic(CallInvoker invoker, Workload workload)
    {
        _client = new(invoker);
        _workload = workload;
        _message = Message.OfSize(workload.Size);
    }

    // ttrpc has no flow control: a stream this long is within every default limit, however late its reader is.
    private int StreamLength => Math.Clamp((4 << 20) / (_workload.Size + 128), 1, 20_000);

    public static Task RunAsync(CallInvoker invoker, Workload workload)
    {
        var traffic = new StubTraffic(invoker, workload);
        return Measurement.RunAsync(workload, traffic.RunAsync, traffic.AllocatedByServerAsync);
    }

    private Task<Tally> RunAsync(TimeSpan time)
    {
        var end = Stopwatch.GetTimestamp() + (long)(time.TotalSeconds * Stopwatch.Frequency);
        return _workload.Kind switch
        {
            Traffic.Unary => AllAsync(() => Task.Run(() => CallAsync(end))),
            Traffic.Blocking => AllAsync(() => Task.Factory.StartNew(() => Call(end), default, TaskCreationOptions.LongRunning, TaskScheduler.Default)),
            Traffic.Down => StreamAsync(end, DownAsync),
            Traffic.Up => StreamAsync(end, UpAsync),
            Traffic.Both => StreamAsync(end, BothAsync),
            Traffic.PingPong => PingPongAsync(end),
            _ => throw new UnreachableException(),
        };
    }

    private async Task<long> AllocatedByServerAsync()
    {
        var answer = await _client.AllocatedAsync(new());
        return BinaryPrimitives.ReadInt64LittleEndian(answer.Value.Span);
    }

    private async Task<Tally> AllAsync(Func<Task<Histogram>> start)
    {
        var callers = new Task<Histogram>[_workload.Callers];
        for (var i = 0; i < callers.Length; i++)
        {
            callers[i] = start();
        }
        var all = new Histogram();
        foreach (var latencies in await Task.WhenAll(callers))
        {
            all.Add(latencies);
        }
        return new(all.Count, all);
    }

    private async Task<Histogram> CallAsync(long end)
    {
        var latencies = new Histogram();
        for (var now = Stopwatch.GetTimestamp(); now < end;)
        {
            Check(await _client.EchoAsync(_message));
            var then = Stopwatch.GetTimestamp();
            latencies.Add(then - now);
            now = then;
        }
        return latencies;
    }

    private Histogram Call(long end)
    {
        var latencies = new Histogram();
        for (var now = Stopwatch.GetTimestamp(); now < end;)
        {
            Check(_client.Echo(_message));
            var then = Stopwatch.GetTimestamp();
            latencies.Add(then - now);
            now = then;
        }
        return latencies;
    }

    private static async Task<Tally> StreamAsync(long end, Func<Task<int>> stream)
    {
        var messages = 0L;
        while (Stopwatch.GetTimestamp() < end)
        {
            messages += await stream();
        }
        return new(messages, new());
    }

    private async Task<int> DownAsync()
    {
        using var call = _client.Down(StreamOrder.Write(StreamLength, _workload.Size));
        return await ReceiveAsync(call.ResponseStream);
    }

    private async Task<int> UpAsync()
    {
        using var call = _client.Up();
        await SendAsync(call.RequestStream);
        await call;
        return StreamLength;
    }

    private async Task<int> BothAsync()
    {
        using var call = _client.Both();
        var sending = Task.Run(() => SendAsync(call.RequestStream));
        var count = await ReceiveAsync(call.ResponseStream);
        await sending;
        return count;
    }

    private async Task SendAsync(IClientStreamWriter<BytesValue> stream)
    {
        for (var i = 0; i < StreamLength; i++)
        {
            await stream.WriteAsync(_message);
        }
        await stream.CompleteAsync();
    }

    private async Task<int> ReceiveAsync(IAsyncStreamReader<BytesValue> stream)
    {
        var count = 0;
        while (await stream.MoveNext(default))
        {
            Check(stream.Current);
            count++;
        }
        return count == StreamLength ? count : throw new InvalidDataException($"{count} messages, not {StreamLength}");
    }

    private async Task<Tally> PingPongAsync(long end)
    {
        var latencies = new Histogram();
        using var call = _client.Both();
        for (var now = Stopwatch.GetTimestamp(); now < end;)
        {
            await call.RequestStream.WriteAsync(_message);
            if (!await call.ResponseStream.MoveNext(default))
            {
                throw new InvalidDataException("the stream ended");
            }
            Check(call.ResponseStream.Current);
            var then = Stopwatch.GetTimestamp();
            latencies.Add(then - now);
            now = then;
        }
        await call.RequestStream.CompleteAsync();
        await call.ResponseStream.MoveNext(default);
        return new(latencies.Count, latencies);
    }

    private void Check(BytesValue answer)
    {
        if (answer.Value.Length != _workload.Size)
        {
            throw new InvalidDataException($"{answer.Value.Length} bytes, not {_workload.Size}");
        }
    }
}
