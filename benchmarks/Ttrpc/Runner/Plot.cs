using System.Globalization;
using System.Text;

namespace Kuasar.Benchmarks.Runner;

/// <summary>Two panels of dots on logarithmic axes, a line per workload.</summary>
internal static class Plot
{
    private const int RowHeight = 26, Top = 96, LabelWidth = 232, PanelWidth = 336, Gap = 44;

    // Told apart by shade as well as by hue.
    private static readonly (string Peer, string Colour)[] s_peers =
        [(Peer.RawBlocking, "#9aa5b1"), (Peer.RawAsync, "#5f6b7a"), (Peer.Grpc, "#8250c4"), (Peer.Go, "#0a8fb5"), (Peer.Ours, "#d6371f")];

    internal static string Draw(Figures figures)
    {
        Cell[] cells = [.. Cell.All.Where(cell => figures.Has(cell, Peer.Ours))];
        var height = Top + (cells.Length * RowHeight) + 44;
        var svg = new StringBuilder();
        svg.AppendLine(CultureInfo.InvariantCulture, $"""
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 {height}" font-family="DejaVu Sans, Verdana, Arial, sans-serif" font-size="12">
              <title>ttrpc side by side</title>
              <desc>Operations per second and processor time per operation of Kuasar.Protocol, Go ttrpc, grpc-dotnet and bare sockets, per workload. The numbers: benchmarks/results/ttrpc-side-by-side.md</desc>
              <!-- Made by benchmarks/ttrpc.sh. A ground of its own, so that it reads the same on a light and on a dark page. -->
              <style>
                text {"{"} fill: #12233a; {"}"}
                .small {"{"} fill: #3f5068; font-size: 11px; {"}"}
                .name {"{"} font-weight: bold; font-size: 14px; {"}"}
                .grid {"{"} stroke: #dbe2ec; stroke-width: 1; {"}"}
                .row {"{"} fill: #e9eff7; {"}"}
              </style>
              <rect x="1" y="1" width="998" height="{height - 2}" rx="10" fill="#f6f8fb" stroke="#c3cedd"/>
            """);
        DrawLegend(svg);
        for (var i = 0; i < cells.Length; i++)
        {
            if (i % 2 == 0)
            {
                svg.AppendLine(CultureInfo.InvariantCulture, $"""  <rect class="row" x="8" y="{Top + (i * RowHeight)}" width="984" height="{RowHeight}"/>""");
            }
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <text x="{LabelWidth}" y="{Middle(i) + 4}" text-anchor="end">{cells[i].Title}</text>""");
        }
        DrawPanel(svg, figures, cells, LabelWidth + 16, "operations per second", "more is better", result => result.PerSecond);
        DrawPanel(svg, figures, cells, LabelWidth + 16 + PanelWidth + Gap, "processor time per operation, µs, both ends", "less is better", result => result.Cpu);
        svg.AppendLine("</svg>");
        return svg.ToString();
    }

    private static double Middle(int row) => Top + ((row + 0.5) * RowHeight);

    private static void DrawLegend(StringBuilder svg)
    {
        var x = 24;
        foreach (var (name, colour) in s_peers.Reverse())
        {
            var title = Peer.All.First(peer => peer.Name == name).Title;
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <circle cx="{x}" cy="28" r="6" fill="{colour}"/><text x="{x + 12}" y="32">{title}</text>""");
            x += 40 + (title.Length * 8);
        }
    }

    private static void DrawPanel(StringBuilder svg, Figures figures, Cell[] cells, int left, string name, string hint, Func<Result, double> value)
    {
        (int Row, string Colour, double Value)[] dots = [..
            from peer in s_peers
            from row in Enumerable.Range(0, cells.Length)
            where figures.Has(cells[row], peer.Peer)
            select (row, peer.Colour, figures.Median(cells[row], peer.Peer, value))];
        var least = Math.Floor(Math.Log10(dots.Min(dot => dot.Value)));
        var greatest = Math.Ceiling(Math.Log10(dots.Max(dot => dot.Value)));
        double X(double x) => left + ((Math.Log10(x) - least) / (greatest - least) * PanelWidth);
        var bottom = Top + (cells.Length * RowHeight);

        svg.AppendLine(CultureInfo.InvariantCulture, $"""  <text class="name" x="{left + (PanelWidth / 2)}" y="66" text-anchor="middle">{name}</text>""");
        svg.AppendLine(CultureInfo.InvariantCulture, $"""  <text class="small" x="{left + (PanelWidth / 2)}" y="84" text-anchor="middle">{hint}</text>""");
        for (var power = least; power <= greatest; power++)
        {
            var x = X(Math.Pow(10, power));
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <line class="grid" x1="{x:0.#}" y1="{Top}" x2="{x:0.#}" y2="{bottom}"/>""");
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <text class="small" x="{x:0.#}" y="{bottom + 18}" text-anchor="middle">{Label(power)}</text>""");
        }
        foreach (var dot in dots)
        {
            svg.AppendLine(CultureInfo.InvariantCulture, $"""  <circle cx="{X(dot.Value):0.#}" cy="{Middle(dot.Row)}" r="5.5" fill="{dot.Colour}" fill-opacity="0.88"/>""");
        }
    }

    private static string Label(double power) => power switch
    {
        >= 6 => Invariant(Math.Pow(10, power - 6), " M"),
        >= 3 => Invariant(Math.Pow(10, power - 3), " k"),
        _ => Invariant(Math.Pow(10, power), ""),
    };

    private static string Invariant(double value, string unit) => value.ToString(CultureInfo.InvariantCulture) + unit;
}
