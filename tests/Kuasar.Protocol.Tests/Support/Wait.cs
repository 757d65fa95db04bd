namespace Kuasar.Protocol.Tests.Support;

internal static class Wait
{
    /// <summary>What a test waits before it fails; never what it waits to pass.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    /// <summary>For states without an event, as counters.</summary>
    public static async Task Until(Func<bool> condition)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, "the condition did not come true");
            await Task.Delay(1);
        }
    }

    public static Task<T> Within<T>(this Task<T> task) => task.WaitAsync(Limit);

    public static Task Within(this Task task) => task.WaitAsync(Limit);

    /// <summary>Cuts a byte string at every pair of places, as three segments.</summary>
    public static IEnumerable<System.Buffers.ReadOnlySequence<byte>> Segmentations(byte[] bytes)
    {
        for (var i = 0; i <= bytes.Length; i++)
        {
            for (var j = i; j <= bytes.Length; j++)
            {
                yield return Segment.Join(bytes[..i], bytes[i..j], bytes[j..]);
            }
        }
    }

    private sealed class Segment : System.Buffers.ReadOnlySequenceSegment<byte>
    {
        public static System.Buffers.ReadOnlySequence<byte> Join(params byte[][] parts)
        {
            var first = new Segment { Memory = parts[0] };
            var last = first;
            foreach (var part in parts[1..])
            {
                var next = new Segment { Memory = part, RunningIndex = last.RunningIndex + last.Memory.Length };
                last.Next = next;
                last = next;
            }
            return new(first, 0, last, last.Memory.Length);
        }
    }
}
