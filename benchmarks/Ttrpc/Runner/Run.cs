using System.Text.Json;

namespace Kuasar.Benchmarks.Runner;

/// <summary>What a client measured. Times in µs, processor time and bytes per operation.</summary>
/// <param name="PerSecond">The median of the slices.</param>
/// <param name="Best">The best of them.</param>
internal sealed record Result(
    long Operations, double PerSecond, double Best, double P50, double P99, double ClientCpu, double ServerCpu, double ClientBytes, double ServerBytes)
{
    internal double Cpu => ClientCpu + ServerCpu;

    internal double Bytes => ClientBytes + ServerBytes;
}

internal sealed record Run(int Round, string Workload, string Peer, Result Result)
{
    private static readonly JsonSerializerOptions s_options = new(JsonSerializerDefaults.Web);

    internal static Run Parse(int round, Cell cell, Peer peer, string json) =>
        new(round, cell.Name, peer.Name, JsonSerializer.Deserialize<Result>(json, s_options) ?? throw new InvalidDataException(json));

    internal string ToJson() => JsonSerializer.Serialize(this, s_options);

    internal static IReadOnlyList<Run> ReadAll(string file) =>
        [.. File.ReadLines(file).Select(line => JsonSerializer.Deserialize<Run>(line, s_options)!)];
}
