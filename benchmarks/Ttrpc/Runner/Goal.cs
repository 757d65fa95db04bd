using Kuasar.Benchmarks.Load;

namespace Kuasar.Benchmarks.Runner;

/// <summary>What ours shall be to another peer.</summary>
/// <param name="What">The measured thing.</param>
/// <param name="Best">The same where a run says what it was at its best.</param>
/// <param name="AtMost">Whether the limit is an upper one.</param>
internal sealed record Goal(Cell Cell, string What, Func<Result, double> Value, Func<Result, double> Best, string Other, bool AtMost, double Limit)
{
    internal static readonly IReadOnlyList<Goal> All =
    [
        Latency(64, Peer.Go, 0.6), Latency(64, Peer.RawAsync, 1.3), Latency(64, Peer.RawBlocking, 1.3),
        // Like with like: Go's call blocks, and so does the faster of the bare sockets.
        Latency(new Cell(Traffic.Blocking, 64, 1), Peer.Go, 0.6), Latency(new Cell(Traffic.Blocking, 64, 1), Peer.RawBlocking, 1.3),
        Rate(64, 64, Peer.Go, 5), new(new(Traffic.Unary, 64, 64), "CPU per call", result => result.Cpu, result => result.Cpu, Peer.Go, true, 0.2),
        Latency(64 << 10, Peer.Go, 0.5), Latency(1 << 20, Peer.Go, 0.3),
        .. from cell in Cell.All where cell.IsStream select Rate(cell, Peer.Go, 2),
        Rate(64, 1, Peer.Grpc, 1.3), Rate(64, 64, Peer.Grpc, 8),
    ];

    internal bool IsMet(double ratio) => AtMost ? ratio <= Limit : ratio >= Limit;

    private static Goal Latency(int size, string other, double limit) => Latency(new Cell(Traffic.Unary, size, 1), other, limit);

    private static Goal Latency(Cell cell, string other, double limit) => new(cell, "p50", result => result.P50, result => result.P50, other, true, limit);

    private static Goal Rate(int size, int callers, string other, double limit) => Rate(new Cell(Traffic.Unary, size, callers), other, limit);

    private static Goal Rate(Cell cell, string other, double limit) =>
        new(cell, cell.IsStream ? "messages/s" : "calls/s", result => result.PerSecond, result => result.Best, other, false, limit);
}
