using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Runner;

/// <summary>One of those that are compared.</summary>
/// <param name="Title">For tables.</param>
/// <param name="Program">The executable, below the folder of all.</param>
/// <param name="Warm">After which it is as fast as it becomes: by measurement, grpc-dotnet needs more than 3 s on two busy cores.</param>
internal sealed record Peer(string Name, string Title, string Program, string[] Prefix, TimeSpan Warm, Func<Cell, bool> Does)
{
    internal const string Ours = "ours", Jit = "ours-jit", Go = "go", Grpc = "grpc", RawBlocking = "raw-blocking", RawAsync = "raw-async";

    internal static readonly IReadOnlyList<Peer> All =
    [
        new(Ours, "ours", "aot/ttrpc-peer", ["ours"], TimeSpan.FromSeconds(2), _ => true),
        // Where it stands to the native one is seen from few.
        new(Jit, "ours, JIT", "jit/ttrpc-peer", ["ours"], TimeSpan.FromSeconds(2), cell => cell is { IsStream: false, Size: 64, Callers: 1 or 64 }),
        new(Go, "Go ttrpc", "go/ttrpc-go", [], TimeSpan.FromSeconds(0.5), _ => true),
        new(Grpc, "grpc-dotnet", "grpc/grpc-peer", [], TimeSpan.FromSeconds(4), _ => true),
        new(RawBlocking, "raw socket, blocking", "aot/ttrpc-peer", ["raw-blocking"], TimeSpan.FromSeconds(2), cell => cell is { IsStream: false, Callers: 1 }),
        new(RawAsync, "raw socket, async", "aot/ttrpc-peer", ["raw-async"], TimeSpan.FromSeconds(2), cell => cell is { Kind: Traffic.Unary, Callers: 1 }),
    ];

    internal static IReadOnlyList<Peer> Select(string folder, string[] names)
    {
        if (names.FirstOrDefault(name => All.All(peer => peer.Name != name)) is { } unknown)
        {
            throw new ArgumentException($"no peer is named {unknown}, but {string.Join(' ', All.Select(peer => peer.Name))}");
        }
        return [.. All
            .Where(peer => names is [] || names.Contains(peer.Name))
            .Select(peer => peer with { Program = Path.Combine(folder, peer.Program) })
            // Go cannot be had everywhere.
            .Where(peer => names is not [] || File.Exists(peer.Program))];
    }
}
