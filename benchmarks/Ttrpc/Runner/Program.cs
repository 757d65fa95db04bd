// The part of ttrpc.sh and idle-connections.sh that runs the peers and makes tables of what they say.
using System.CommandLine;
using Kuasar.Benchmarks.Runner;

var programs = new Option<DirectoryInfo>("--programs") { Description = "Where ttrpc.sh has put the peers", Required = true };
var peers = new Option<string[]>("--peers") { Description = "Only these", AllowMultipleArgumentsPerToken = true };
var cells = new Option<string[]>("--workloads") { Description = "Only these, by their names", AllowMultipleArgumentsPerToken = true };
var rounds = new Option<int>("--rounds") { Description = "How often each peer does each workload", DefaultValueFactory = _ => 5 };
var window = new Option<double>("--window") { Description = "Seconds measured each time", DefaultValueFactory = _ => 1 };
var runs = new Option<FileInfo>("--runs") { Description = "What was measured, a line of JSON each", Required = true };
var plot = new Option<FileInfo>("--plot") { Description = "Also draw an SVG here" };
var count = new Option<int>("--count") { Description = "Idle connections", DefaultValueFactory = _ => 2000 };

var run = new Command("run", "Measures, the peers taking turns.") { programs, peers, cells, rounds, window, runs };
run.SetAction((arguments, cancellationToken) => Session.RunAsync(
    Peer.Select(arguments.GetRequiredValue(programs).FullName, arguments.GetValue(peers) ?? []),
    Cell.Select(arguments.GetValue(cells) ?? []),
    arguments.GetValue(rounds), TimeSpan.FromSeconds(arguments.GetValue(window)), arguments.GetRequiredValue(runs).FullName, cancellationToken));
var report = new Command("report", "Prints the tables in markdown.") { runs, plot };
report.SetAction(arguments =>
{
    var figures = new Figures(Run.ReadAll(arguments.GetRequiredValue(runs).FullName));
    Console.Write(Table.Write(figures));
    if (arguments.GetValue(plot) is { } file)
    {
        File.WriteAllText(file.FullName, Plot.Draw(figures));
    }
});
var idle = new Command("idle", "Measures what idle connections cost a server. Prints markdown.") { programs, peers, count, rounds, window };
idle.SetAction((arguments, cancellationToken) => IdleConnections.MeasureAsync(
    Peer.Select(arguments.GetRequiredValue(programs).FullName, arguments.GetValue(peers) ?? []),
    Peer.Select(arguments.GetRequiredValue(programs).FullName, [Peer.Ours])[0],
    arguments.GetValue(count), arguments.GetValue(rounds), TimeSpan.FromSeconds(arguments.GetValue(window)), cancellationToken));
return await new RootCommand("ttrpc side by side.") { run, report, idle }.Parse(args).InvokeAsync();
