using System.Globalization;

namespace Kuasar.Benchmarks.Load;

public enum Traffic
{
    /// <summary>Unary calls, each caller an asynchronous loop.</summary>
    Unary,

    /// <summary>Unary calls by the blocking stub, each caller a thread.</summary>
    Blocking,

    /// <summary>Messages of a server stream.</summary>
    Down,

    /// <summary>Messages of a client stream.</summary>
    Up,

    /// <summary>Messages sent and received back on one stream, as fast as they go.</summary>
    Both,

    /// <summary>The same, one at a time.</summary>
    PingPong,
}

/// <summary>What a client does. As arguments: KIND SIZE CALLERS SERVER_PID WARM_MS WINDOW_MS.</summary>
/// <param name="Server">Whose processor time is read.</param>
public sealed record Workload(Traffic Kind, int Size, int Callers, int Server, TimeSpan Warm, TimeSpan Window)
{
    public static Workload Parse(ReadOnlySpan<string> words) => words is [var kind, _, _, _, _, _]
        ? new(
            Enum.Parse<Traffic>(kind, ignoreCase: true), Number(words[1]), Number(words[2]), Number(words[3]),
            TimeSpan.FromMilliseconds(Number(words[4])), TimeSpan.FromMilliseconds(Number(words[5])))
        : throw new ArgumentException("a workload is KIND SIZE CALLERS SERVER_PID WARM_MS WINDOW_MS");

    private static int Number(string word) => int.Parse(word, CultureInfo.InvariantCulture);
}
