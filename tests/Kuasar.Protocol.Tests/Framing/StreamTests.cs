using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Tests.Framing;

public sealed class StreamTests
{
    [Fact]
    public void Table_EntryLeavesOnce_AndOnlyByItsOwner()
    {
        var table = new StreamTable<string>();
        var mine = new string("a");
        Assert.True(table.TryAdd(1, mine));
        Assert.False(table.TryAdd(1, "b"));
        Assert.False(table.Remove(1, new string("a")));
        Assert.True(table.Remove(1, mine));
        Assert.False(table.Remove(1, mine));
        Assert.Equal((0, 1L), (table.Count, table.Removed));
    }

    [Fact]
    public void Table_Closed_TakesNoMore()
    {
        var table = new StreamTable<string>();
        table.TryAdd(1, "a");
        Assert.Equal(["a"], table.Close());
        Assert.False(table.TryAdd(3, "b"));
    }

    [Fact]
    public void Queue_IsBoundedByBytes_EmptyMessagesIncluded()
    {
        var queue = new MessageQueue<int>(limit: 1000);
        var count = 0;
        while (queue.TryEnqueue(count, 0))
        {
            count++;
        }
        Assert.InRange(count, 1, 1000);
        Assert.True(queue.TryDequeue(out var first));
        Assert.Equal(0, first);
        Assert.True(queue.TryEnqueue(count, 0));
        Assert.False(queue.TryEnqueue(count, 0));
    }

    [Fact]
    public void Queue_TakesOneMessageOfAnySize()
    {
        var queue = new MessageQueue<int>(limit: 10);
        Assert.True(queue.TryEnqueue(1, 1_000_000));
        Assert.False(queue.TryEnqueue(2, 0));
    }

    [Fact]
    public async Task Queue_WhatIsQueuedIsReadBeforeTheError()
    {
        var queue = new MessageQueue<int>(limit: 1000);
        queue.TryEnqueue(1, 1);
        queue.Complete(new IOException());
        Assert.True(await queue.WaitAsync(default));
        Assert.True(queue.TryDequeue(out _));
        await Assert.ThrowsAsync<IOException>(async () => await queue.WaitAsync(default));
    }
}
