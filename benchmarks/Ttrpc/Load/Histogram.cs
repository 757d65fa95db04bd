using System.Diagnostics;
using System.Numerics;

namespace Kuasar.Benchmarks.Load;

/// <summary>Log-linear: 64 steps in each power of two, so that a value is known to 0.8 %. Not thread-safe.</summary>
public sealed class Histogram
{
    private const int Bits = 6, Steps = 1 << Bits;

    private readonly uint[] _counts = new uint[(64 - Bits) * Steps];

    public long Count { get; private set; }

    /// <param name="ticks">Of <see cref="Stopwatch"/>.</param>
    public void Add(long ticks)
    {
        _counts[IndexOf((ulong)ticks)]++;
        Count++;
    }

    public void Add(Histogram other)
    {
        for (var i = 0; i < _counts.Length; i++)
        {
            _counts[i] += other._counts[i];
        }
        Count += other.Count;
    }

    /// <summary>Microseconds that this share of the values does not exceed, from the middle of a step; 0 without values.</summary>
    public double Quantile(double share)
    {
        var rank = (long)Math.Ceiling(share * Count);
        for (var i = 0; i < _counts.Length && rank > 0; i++)
        {
            rank -= _counts[i];
            if (rank <= 0)
            {
                return Middle(i) * 1e6 / Stopwatch.Frequency;
            }
        }
        return 0;
    }

    private static int IndexOf(ulong value)
    {
        var shift = Math.Max(BitOperations.Log2(value | 1) - Bits, 0);
        return (shift * Steps) + (int)(value >> shift);
    }

    private static double Middle(int index)
    {
        var shift = Math.Max((index / Steps) - 1, 0);
        var low = (double)(index - (shift * Steps)) * (1L << shift);
        return low + (((1L << shift) - 1) / 2.0);
    }
}
