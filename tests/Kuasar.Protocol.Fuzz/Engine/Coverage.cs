using System.Numerics;
using System.Runtime.InteropServices;
using SharpFuzz.Common;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>
/// What the instrumented library has run. SharpFuzz's own map holds pairs of any two branches that follow each other, and with
/// several threads these are as random as the scheduler; ours holds pairs within one method on one thread, by its callback.
/// </summary>
internal static unsafe class Coverage
{
    private const int MapSize = 1 << 16;

    private static readonly byte[] Hits = new byte[MapSize];

    /// <summary>A bit per power of two of the counts that were ever seen.</summary>
    private static readonly byte[] Seen = new byte[MapSize];

    [ThreadStatic]
    private static int s_previous;

    [ThreadStatic]
    private static string? s_method;

    /// <summary>Not how often a pair was run, only that it was: leaves few inputs.</summary>
    internal static bool IgnoreCounts { get; set; }

    /// <summary>Pairs ever seen.</summary>
    internal static int Count => Seen.Count(static bits => bits != 0);

    /// <summary>Before the library's first instruction: an instrumented one writes to SharedMem unasked.</summary>
    internal static void Start()
    {
        Trace.SharedMem = (byte*)NativeMemory.AllocZeroed(MapSize);
        Trace.OnBranch = OnBranch;
    }

    internal static void Reset() => Array.Clear(Hits);

    /// <summary>The bits of this run that no run has had: (place, bits).</summary>
    internal static List<(int Place, byte Bits)> News()
    {
        var news = new List<(int, byte)>();
        var hits = MemoryMarshal.Cast<byte, ulong>(Hits);
        for (var i = 0; i < hits.Length; i++)
        {
            if (hits[i] == 0)
            {
                continue;
            }
            for (var place = i * sizeof(ulong); place < (i + 1) * sizeof(ulong); place++)
            {
                var bits = (byte)(Bucket(Hits[place]) & ~Seen[place]);
                if (bits != 0)
                {
                    news.Add((place, bits));
                }
            }
        }
        return news;
    }

    /// <summary>Those of them that this run has too: what comes of timing is gone by then.</summary>
    internal static List<(int Place, byte Bits)> Again(List<(int Place, byte Bits)> news) =>
        news.FindAll(static entry => (Bucket(Hits[entry.Place]) & entry.Bits) != 0);

    internal static void Keep(List<(int Place, byte Bits)> news)
    {
        foreach (var (place, bits) in news)
        {
            Seen[place] |= bits;
        }
    }

    private static byte Bucket(byte count) => count == 0 ? (byte)0 : IgnoreCounts ? (byte)1 : (byte)(1 << BitOperations.Log2(count));

    private static void OnBranch(int id, string method)
    {
        var place = ReferenceEquals(method, s_method) ? (s_previous ^ id) & (MapSize - 1) : id & (MapSize - 1);
        s_method = method;
        s_previous = id >> 1;
        if (Hits[place] != byte.MaxValue)
        {
            Hits[place]++;
        }
    }
}
