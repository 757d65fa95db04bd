using System.Globalization;

namespace Kuasar.Protocol.Soak;

/// <summary>How the calls of one leg have ended.</summary>
internal sealed class Tally(string name)
{
    private const int Codes = 17;
    private const int ShownMistakes = 20;

    private readonly long[] _byCode = new long[Codes];
    private readonly List<string> _mistakes = [];
    private long _connections;
    private long _leaked;
    private int _mistakeCount;

    internal string Name => name;

    internal long Calls => _byCode.Sum(static count => count);

    /// <summary>Results that were not what they had to be; the first few in words.</summary>
    internal int Mistakes => Volatile.Read(ref _mistakeCount);

    /// <summary>Stream entries that were left when all calls of a connection had ended.</summary>
    internal long Leaked => Volatile.Read(ref _leaked);

    internal IReadOnlyList<string> FirstMistakes
    {
        get
        {
            lock (_mistakes)
            {
                return [.. _mistakes];
            }
        }
    }

    internal void Count(StatusCode code) => Interlocked.Increment(ref _byCode[(int)code]);

    internal void CountConnection() => Interlocked.Increment(ref _connections);

    internal void Leak(int entries) => Interlocked.Add(ref _leaked, entries);

    internal void Mistake(string what)
    {
        Interlocked.Increment(ref _mistakeCount);
        lock (_mistakes)
        {
            if (_mistakes.Count < ShownMistakes)
            {
                _mistakes.Add($"{name}: {what}");
            }
        }
    }

    public override string ToString()
    {
        var codes = Enumerable.Range(0, Codes).Where(code => _byCode[code] > 0)
            .Select(code => string.Create(CultureInfo.InvariantCulture, $"{(StatusCode)code} {_byCode[code]}"));
        return string.Create(CultureInfo.InvariantCulture,
            $"{name}: {Calls} calls on {_connections} connections ({string.Join(", ", codes)}), {Mistakes} mistakes, {Leaked} leaked");
    }
}
