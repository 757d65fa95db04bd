using Kuasar.Protocol.Framing;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class QueueTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Deadlines_FireInTime_AndOnce(int seed)
    {
        var random = new Random(seed);
        var time = new ManualTime();
        var queue = new DeadlineQueue(time);
        var live = new Dictionary<Entry, long>();
        for (var step = 0; step < 3_000; step++)
        {
            if (random.Next(3) > 0)
            {
                var left = TimeSpan.FromMilliseconds(random.Next(1, 1_000));
                var entry = new Entry();
                live.Add(entry, time.GetTimestamp() + left.Ticks);
                queue.Add(entry, left);
            }
            else if (live.Count > 0 && random.Next(2) == 0)
            {
                var entry = live.Keys.ElementAt(random.Next(live.Count));
                queue.Remove(entry);
                Assert.Equal(0, entry.Fired);
                live.Remove(entry);
            }
            else
            {
                time.Advance(TimeSpan.FromMilliseconds(random.Next(20)));
                foreach (var (entry, due) in live.ToArray())
                {
                    Assert.Equal(due <= time.GetTimestamp() ? 1 : 0, entry.Fired);
                    if (entry.Fired == 1)
                    {
                        live.Remove(entry);
                    }
                }
            }
        }
        foreach (var entry in live.Keys)
        {
            queue.Remove(entry);
        }
        Assert.Equal(0, time.Armed);
    }

    /// <summary>The one timer is made by whoever calls first, and serves all.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Deadlines_CarryNobodysContext(bool suppressed)
    {
        var local = new AsyncLocal<string?> { Value = "the first caller's" };
        var queue = new DeadlineQueue(TimeProvider.System);
        var seen = new TaskCompletionSource<string?>();
        using (suppressed ? ExecutionContext.SuppressFlow() : default(IDisposable))
        {
            queue.Add(new Looking(() => seen.TrySetResult(local.Value)), TimeSpan.FromMilliseconds(1));
        }
        Assert.Null(await seen.Task.Within());
    }

    private sealed class Looking(Action look) : DeadlineEntry
    {
        internal override void OnDeadline() => look();
    }

    [Fact]
    public void SendQueue_GivesBackWhatWasAdded_InAnyPieces()
    {
        var random = new Random(5);
        var queue = new SendQueue();
        var frame = new OutputBuffer();
        for (var round = 0; round < 50; round++)
        {
            var added = new List<byte>();
            for (var i = random.Next(1, 60); i > 0; i--)
            {
                var bytes = new byte[random.Next(5) == 0 ? random.Next(60_000) : random.Next(1, 100)];
                random.NextBytes(bytes);
                bytes.CopyTo(frame.GetSpan(bytes.Length));
                frame.Advance(bytes.Length);
                frame = queue.Add(frame);
                Assert.Equal(0, frame.Length);
                added.AddRange(bytes);
            }
            Assert.Equal(added.Count, queue.Length);
            var sent = new List<byte>();
            while (queue.Length > 0)
            {
                var all = Enumerable.Range(0, queue.ChunkCount).SelectMany(i => queue.Chunk(i).ToArray()).ToArray();
                var count = random.Next(1, all.Length + 1);
                sent.AddRange(all[..count]);
                queue.Consume(count);
            }
            Assert.Equal(added, sent);
            Assert.Equal(0, queue.ChunkCount);
        }
    }

    [Fact]
    public async Task MessageQueue_TwoThreads_EverythingInOrder()
    {
        const int count = 200_000;
        var queue = new MessageQueue<int>(long.MaxValue);
        var producing = Task.Run(() =>
        {
            for (var i = 0; i < count; i++)
            {
                Assert.True(queue.TryEnqueue(i, 1));
                if (i % 1_000 == 0)
                {
                    Thread.Yield();
                }
            }
            queue.Complete();
        });
        var next = 0;
        while (await queue.WaitAsync(default))
        {
            while (queue.TryDequeue(out var message))
            {
                Assert.Equal(next++, message);
            }
        }
        Assert.Equal(count, next);
        await producing.Within();
    }

    [Fact]
    public async Task MessageQueue_WaitsThatAreCancelled_LoseNothing()
    {
        var queue = new MessageQueue<int>(long.MaxValue);
        for (var i = 0; i < 500; i++)
        {
            using var cancel = new CancellationTokenSource();
            var waiting = queue.WaitAsync(cancel.Token).AsTask();
            var both = Task.WhenAll(Task.Run(cancel.Cancel), Task.Run(() => queue.TryEnqueue(i, 1)));
            try
            {
                Assert.True(await waiting.Within());
            }
            catch (OperationCanceledException)
            {
                Assert.True(await queue.WaitAsync(default).AsTask().Within());
            }
            await both.Within();
            Assert.True(queue.TryDequeue(out var message));
            Assert.Equal(i, message);
        }
    }

    private sealed class Entry : DeadlineEntry
    {
        internal int Fired { get; private set; }

        internal override void OnDeadline() => Fired++;
    }
}
