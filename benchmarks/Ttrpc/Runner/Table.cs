using System.Globalization;
using System.Text;

namespace Kuasar.Benchmarks.Runner;

internal static class Table
{
    internal static string Write(Figures figures)
    {
        var text = new StringBuilder();
        WriteGoals(text, figures);
        WriteAll(text, figures);
        return text.ToString();
    }

    private static void WriteGoals(StringBuilder text, Figures figures)
    {
        text.AppendLine("## Goals\n");
        text.AppendLine("Ours to the other: the ratio of the medians, the range of the ratios within the rounds, and the ratio of the best of each.\n");
        text.AppendLine("| workload | figure | to | goal | ratio | rounds | best | |");
        text.AppendLine("|---|---|---|---|---|---|---|---|");
        foreach (var goal in Goal.All.Where(goal => figures.Has(goal.Cell, Peer.Ours) && figures.Has(goal.Cell, goal.Other)))
        {
            var (ratio, least, greatest) = figures.Ratio(goal.Cell, Peer.Ours, goal.Other, goal.Value);
            var best = figures.BestRatio(goal.Cell, Peer.Ours, goal.Other, goal.Best, goal.AtMost);
            text.AppendLine(CultureInfo.InvariantCulture,
                $"| {goal.Cell.Title} | {goal.What} | {TitleOf(goal.Other)} | {(goal.AtMost ? "≤" : "≥")} {goal.Limit} | {ratio:0.00} | {least:0.00} … {greatest:0.00} | {best:0.00} | {(goal.IsMet(ratio) ? "met" : "**missed**")} |");
        }
        text.AppendLine();
    }

    private static void WriteAll(StringBuilder text, Figures figures)
    {
        text.AppendLine("## All figures\n");
        text.AppendLine(CultureInfo.InvariantCulture, $"Medians of {figures.Rounds} rounds; for streams per message. Processor time and allocated bytes: client + server. The ratios are ours to that peer.\n");
        text.AppendLine("| workload | peer | ops/s | p50 µs | p99 µs | CPU µs | allocated B | ops/s | p50 | CPU |");
        text.AppendLine("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var cell in Cell.All)
        {
            foreach (var peer in Peer.All.Where(peer => figures.Has(cell, peer.Name)))
            {
                WriteRow(text, figures, cell, peer);
            }
        }
    }

    private static void WriteRow(StringBuilder text, Figures figures, Cell cell, Peer peer)
    {
        double Median(Func<Result, double> value) => figures.Median(cell, peer.Name, value);
        string Ratio(Func<Result, double> value) => peer.Name == Peer.Ours || !figures.Has(cell, Peer.Ours) || Median(value) == 0
            ? ""
            : figures.Ratio(cell, Peer.Ours, peer.Name, value).Ratio.ToString("0.00", CultureInfo.InvariantCulture);

        var timed = Median(result => result.P50) > 0;
        var allocates = !peer.Name.StartsWith("raw", StringComparison.Ordinal);
        string[] fields =
        [
            peer.Name == Peer.Ours || !figures.Has(cell, Peer.Ours) ? cell.Title : "",
            peer.Title,
            Number(Median(result => result.PerSecond), "N0"),
            timed ? Number(Median(result => result.P50), "N1") : "",
            timed ? Number(Median(result => result.P99), "N1") : "",
            $"{Number(Median(result => result.ClientCpu), "N2")} + {Number(Median(result => result.ServerCpu), "N2")}",
            allocates ? $"{Number(Median(result => result.ClientBytes), "N0")} + {Number(Median(result => result.ServerBytes), "N0")}" : "",
            Ratio(result => result.PerSecond),
            timed ? Ratio(result => result.P50) : "",
            Ratio(result => result.Cpu),
        ];
        text.AppendLine(CultureInfo.InvariantCulture, $"| {string.Join(" | ", fields)} |");
    }

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string TitleOf(string peer) => Peer.All.First(one => one.Name == peer).Title;
}
