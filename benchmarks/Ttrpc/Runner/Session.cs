namespace Kuasar.Benchmarks.Runner;

internal static class Session
{
    /// <summary>
    /// In each round every workload, and in it the peers one after the other, both in random order: what else the machine does then
    /// hits all alike, and a ratio is of two that ran within seconds.
    /// </summary>
    internal static async Task<int> RunAsync(
        IReadOnlyList<Peer> peers, IReadOnlyList<Cell> cells, int rounds, TimeSpan window, string file, CancellationToken cancellationToken)
    {
        var folder = Directory.CreateTempSubdirectory("ttrpc-bench");
        var failures = 0;
        try
        {
            await using var output = new StreamWriter(file) { AutoFlush = true };
            for (var round = 1; round <= rounds; round++)
            {
                foreach (var cell in Shuffled(cells))
                {
                    foreach (var peer in Shuffled(peers.Where(peer => peer.Does(cell))))
                    {
                        cancellationToken.ThrowIfCancellationRequested();
                        try
                        {
                            var run = await MeasureAsync(round, cell, peer, Path.Combine(folder.FullName, "s"), window);
                            await output.WriteLineAsync(run.ToJson());
                            await Console.Error.WriteLineAsync($"{round} {cell.Name,-16} {peer.Name,-13} {run.Result.PerSecond,10:F0}/s");
                        }
                        catch (IOException e)
                        {
                            failures++;
                            await Console.Error.WriteLineAsync($"{round} {cell.Name,-16} {peer.Name,-13} {e.Message}");
                        }
                    }
                }
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
        return failures == 0 ? 0 : 1;
    }

    private static async Task<Run> MeasureAsync(int round, Cell cell, Peer peer, string socket, TimeSpan window)
    {
        await using var server = await PeerProcess.ServeAsync(peer, socket);
        return Run.Parse(round, cell, peer, await PeerProcess.CallAsync(peer, socket, server, cell, window));
    }

    private static T[] Shuffled<T>(IEnumerable<T> items)
    {
        var shuffled = items.ToArray();
        Random.Shared.Shuffle(shuffled);
        return shuffled;
    }
}
