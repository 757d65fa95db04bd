using System.Globalization;
using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Runner;

/// <summary>One workload, a line of the table.</summary>
internal sealed record Cell(Traffic Kind, int Size, int Callers)
{
    internal static readonly IReadOnlyList<Cell> All =
    [
        new(Traffic.Unary, 64, 1), new(Traffic.Blocking, 64, 1), new(Traffic.Unary, 64, 8), new(Traffic.Unary, 64, 64), new(Traffic.Unary, 64, 512),
        new(Traffic.Unary, 4 << 10, 1), new(Traffic.Unary, 64 << 10, 1), new(Traffic.Unary, 64 << 10, 8),
        new(Traffic.Unary, 1 << 20, 1), new(Traffic.Unary, 1 << 20, 8),
        .. from size in new[] { 64, 4 << 10 }
           from kind in new[] { Traffic.Down, Traffic.Up, Traffic.Both, Traffic.PingPong }
           select new Cell(kind, size, 1),
    ];

    /// <summary>As it is asked for and stored: unary-64-8, down-4096.</summary>
    internal string Name => string.Create(
        CultureInfo.InvariantCulture, $"{Kind.ToString().ToLowerInvariant()}-{Size}{(IsStream ? "" : $"-{Callers}")}");

    internal bool IsStream => Kind is not (Traffic.Unary or Traffic.Blocking);

    internal string Title => Kind switch
    {
        Traffic.Unary when Callers == 1 => $"unary {Bytes}, 1 caller",
        Traffic.Unary => $"unary {Bytes}, {Callers} callers",
        Traffic.Blocking => $"unary {Bytes}, 1 caller, blocking stub",
        Traffic.Down => $"server stream {Bytes}",
        Traffic.Up => $"client stream {Bytes}",
        Traffic.Both => $"bidi stream {Bytes}",
        _ => $"bidi ping-pong {Bytes}",
    };

    private string Bytes => Size switch
    {
        >= 1 << 20 => $"{Size >> 20} MiB",
        >= 1 << 10 => $"{Size >> 10} KiB",
        _ => $"{Size} B",
    };

    internal static IReadOnlyList<Cell> Select(string[] names) => names is [] ? All : [.. names.Select(Named)];

    internal static Cell Named(string name) =>
        All.FirstOrDefault(cell => cell.Name == name) ??
        throw new ArgumentException($"no workload is named {name}, but {string.Join(' ', All.Select(cell => cell.Name))}");
}
