namespace Kuasar.Benchmarks.Peer;

internal static class Allocations
{
    internal static Task PrintAsync() => Task.CompletedTask;
}
