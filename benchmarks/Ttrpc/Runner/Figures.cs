namespace Kuasar.Benchmarks.Runner;

/// <summary>Medians over the rounds, and ratios of two peers.</summary>
internal sealed class Figures(IReadOnlyList<Run> runs)
{
    internal bool Has(Cell cell, string peer) => runs.Any(run => run.Workload == cell.Name && run.Peer == peer);

    internal int Rounds => runs.Max(run => run.Round);

    internal double Median(Cell cell, string peer, Func<Result, double> value) => Median([.. Of(cell, peer).Select(run => value(run.Result))]);

    /// <summary>The ratio of the best of all rounds: what it can be on a machine that does nothing else.</summary>
    internal double BestRatio(Cell cell, string peer, string other, Func<Result, double> value, bool lessIsBetter)
    {
        double Best(string who) => Of(cell, who).Select(run => value(run.Result)).Aggregate(lessIsBetter ? Math.Min : Math.Max);
        return Best(peer) / Best(other);
    }

    /// <summary>The ratio of the medians, and the least and greatest of the ratios within the rounds.</summary>
    internal (double Ratio, double Least, double Greatest) Ratio(Cell cell, string peer, string other, Func<Result, double> value)
    {
        double[] ratios = [..
            from one in Of(cell, peer)
            join two in Of(cell, other) on one.Round equals two.Round
            select value(one.Result) / value(two.Result)];
        return (Median(cell, peer, value) / Median(cell, other, value), ratios.Length == 0 ? 0 : ratios.Min(), ratios.Length == 0 ? 0 : ratios.Max());
    }

    private IEnumerable<Run> Of(Cell cell, string peer) => runs.Where(run => run.Workload == cell.Name && run.Peer == peer);

    private static double Median(double[] values)
    {
        Array.Sort(values);
        var middle = values.Length / 2;
        return values.Length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
