using System.Globalization;

namespace Vmm;

/// <summary>The same guest in each way in each round: what else the machine does hits all, and the differences within a round are what counts.</summary>
internal static class Rounds
{
    internal static async Task RunAsync(LibraryBoot library, SandboxerPods sandboxer, HandBoot hand, int rounds, CancellationToken cancellationToken)
    {
        // For its command lines, and for caches.
        await library.RunAsync(cancellationToken);
        var commandLines = library.CommandLines;
        await hand.RunAsync(commandLines, cancellationToken);
        await BySandboxerAsync();

        List<double> byHand = [], started = [], ready = [], setUp = [], answered = [];
        Func<Task>[] ways =
        [
            async () => byHand.Add((await hand.RunAsync(commandLines, cancellationToken)).TotalMilliseconds),
            async () =>
            {
                var times = await library.RunAsync(cancellationToken);
                started.Add(times.Booted.TotalMilliseconds);
                ready.Add(times.Ready.TotalMilliseconds);
                setUp.Add(times.SetUp.TotalMilliseconds);
            },
            async () => answered.Add((await BySandboxerAsync()).TotalMilliseconds),
        ];
        for (var round = 0; round < rounds; round++)
        {
            Random.Shared.Shuffle(ways);
            foreach (var way in ways)
            {
                await way();
            }
            await Console.Error.WriteLineAsync(string.Create(
                CultureInfo.InvariantCulture, $"{round + 1}: by hand {byHand[^1]:F0}, library {ready[^1]:F0}, sandboxer {answered[^1]:F0} ms"));
        }
        Console.WriteLine("| From nothing to | median ms | more than by hand, median | quartiles |");
        Console.WriteLine("|---|--:|--:|---|");
        Print("the guest's call, by hand", byHand, byHand);
        Print("the start of the vcpus, by the library", started, null);
        Print("the agent is ready, by the library", ready, byHand);
        Print("the pod is set up, by the library", setUp, byHand);
        Print("the answer to StartSandbox, by the sandboxer", answered, byHand);
        // What the sandboxer does not tell: less the set-up, which took the library as long in the same round.
        Print("the same without the set-up", [.. answered.Select((time, i) => time - (setUp[i] - ready[i]))], byHand);

        async Task<TimeSpan> BySandboxerAsync()
        {
            var time = await sandboxer.StartAsync(cancellationToken);
            await sandboxer.RemoveAsync(sandboxer.Last, cancellationToken);
            return time;
        }
    }

    private static void Print(string what, List<double> times, List<double>? peer)
    {
        var line = string.Create(CultureInfo.InvariantCulture, $"| {what} | {Quantile(times, 0.5):F0} |");
        if (peer is null || peer == times)
        {
            Console.WriteLine(line + " | |");
            return;
        }
        var more = times.Zip(peer, static (ours, theirs) => ours - theirs).ToList();
        Console.WriteLine(line + string.Create(CultureInfo.InvariantCulture, $" {Quantile(more, 0.5):F0} | {Quantile(more, 0.25):F0} to {Quantile(more, 0.75):F0} |"));
    }

    private static double Quantile(List<double> values, double part) => values.Order().ElementAt((int)(part * (values.Count - 1) + 0.5));
}
