using System.Diagnostics;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>Runs inputs, keeps those that reach something new, and makes others of them. In an instrumented process.</summary>
internal sealed class FuzzLoop(FuzzTarget target, CurrentInput current, TextWriter output)
{
    /// <summary>An input that takes longer is a hang; they take microseconds.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromSeconds(20);

    /// <summary>What the heap may grow by in a run, the kept inputs included: less than a few hundred bytes leaked by each.</summary>
    private const long GrowthLimit = 24 << 20;

    private readonly List<byte[]> _inputs = [];
    private Exception? _unobserved;
    private long _executions;
    private long _started;

    /// <summary>Runs for so long. False: an invariant broke, and <paramref name="current"/> holds the input.</summary>
    internal async Task<bool> RunAsync(TimeSpan time, int seed, IEnumerable<byte[]> inputs)
    {
        var random = new Random(seed);
        var mutator = new Mutator(random, target.MaxLength);
        TaskScheduler.UnobservedTaskException += (_, args) =>
            _unobserved ??= args.Exception.Flatten().InnerExceptions.All(target.IsExpected) ? null : args.Exception;
        using var watchdog = new Timer(_ => Watch(), null, HangLimit, TimeSpan.FromSeconds(1));
        var begin = Stopwatch.GetTimestamp();
        foreach (var input in inputs.Prepend([]).OrderBy(static input => input.Length))
        {
            if (!await TryAsync(input))
            {
                return false;
            }
        }
        var (loaded, paths, shown) = (_inputs.Count, Coverage.Count, Stopwatch.GetTimestamp());
        var heap = GC.GetTotalMemory(forceFullCollection: true);
        output.WriteLine($"{target.Name}: seed {seed}, {loaded} inputs reach {paths} places");
        while (Stopwatch.GetElapsedTime(begin) < time && _unobserved is null)
        {
            if (!await TryAsync(mutator.Mutate(Pick(random), _inputs[random.Next(_inputs.Count)])))
            {
                return false;
            }
            if (Stopwatch.GetElapsedTime(shown) > TimeSpan.FromSeconds(10))
            {
                shown = Stopwatch.GetTimestamp();
                Show();
            }
        }
        Show();
        // What a faulted task was forgotten with shows when the collector finds it.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var growth = GC.GetTotalMemory(forceFullCollection: true) - heap;
        if (growth > GrowthLimit)
        {
            output.WriteLine($"{target.Name}: the heap has grown by {growth} bytes in {_executions} executions");
            return false;
        }
        if (_unobserved is not null)
        {
            output.WriteLine($"{target.Name}: a task's exception was observed by nobody, some input before: {_unobserved}");
        }
        return _unobserved is null;

        void Show() => output.WriteLine(
            $"{target.Name}: {_executions} executions, {_executions / Stopwatch.GetElapsedTime(begin).TotalSeconds:F0}/s, "
            + $"{Coverage.Count - paths} new places, corpus {_inputs.Count} ({_inputs.Count - loaded} new), heap {GC.GetGCMemoryInfo().HeapSizeBytes >> 20} MiB");
    }

    /// <summary>The inputs that reached something new, in the order they were found.</summary>
    internal IReadOnlyList<byte[]> Inputs => _inputs;

    private byte[] Pick(Random random)
    {
        // The latest are the least tried.
        var from = random.Next(2) == 0 ? 0 : _inputs.Count * 3 / 4;
        return _inputs[random.Next(from, _inputs.Count)];
    }

    private async ValueTask<bool> TryAsync(byte[] input)
    {
        try
        {
            await ExecuteAsync(input);
            var news = Coverage.News();
            if (news.Count > 0)
            {
                await ExecuteAsync(input);
                news = Coverage.Again(news);
                if (news.Count > 0)
                {
                    Coverage.Keep(news);
                    _inputs.Add(input);
                }
            }
            return true;
        }
        catch (Exception error)
        {
            output.WriteLine($"{target.Name}: {error}");
            return false;
        }
    }

    private async ValueTask ExecuteAsync(byte[] input)
    {
        current.Set(input);
        Coverage.Reset();
        _executions++;
        Volatile.Write(ref _started, Stopwatch.GetTimestamp());
        var before = GC.GetTotalAllocatedBytes();
        await target.RunAsync(input);
        var allocated = GC.GetTotalAllocatedBytes() - before;
        Volatile.Write(ref _started, 0);
        FuzzFailure.Unless(
            allocated <= target.AllocationBound(input.Length), $"{input.Length} bytes of input brought about {allocated} bytes allocated");
    }

    private void Watch()
    {
        var started = Volatile.Read(ref _started);
        if (started != 0 && Stopwatch.GetElapsedTime(started) > HangLimit)
        {
            output.WriteLine($"{target.Name}: no end within {HangLimit}");
            output.Flush();
            Environment.Exit(FuzzRun.Found);
        }
    }
}
