using System.Diagnostics;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>Runs inputs, keeps those that reach something new, and makes others of them. In an instrumented process.</summary>
internal sealed class FuzzLoop(FuzzTarget target, CurrentInput current, TextWriter output)
{
    /// <summary>An input that takes longer is a hang; they take microseconds, on a busy machine some more.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromSeconds(60);

    /// <summary>What the heap may grow by in a run, the kept inputs included: less than a few hundred bytes leaked by each.</summary>
    private const long GrowthLimit = 24 << 20;

    private static readonly TimeSpan ShowEvery = TimeSpan.FromSeconds(10);

    private readonly List<byte[]> _inputs = [];
    private readonly long _begin = Stopwatch.GetTimestamp();
    private Exception? _unobserved;
    private long _executions;
    private long _started;
    private int _knownInputs;
    private int _knownPlaces;

    /// <summary>The inputs that reached something new, in the order they were found.</summary>
    internal IReadOnlyList<byte[]> Inputs => _inputs;

    /// <summary>Runs for so long. False: an invariant broke, and <paramref name="current"/> holds the input.</summary>
    internal async Task<bool> RunAsync(TimeSpan time, int seed, IEnumerable<byte[]> inputs)
    {
        TaskScheduler.UnobservedTaskException += (_, args) =>
            _unobserved ??= args.Exception.Flatten().InnerExceptions.All(target.IsExpected) ? null : args.Exception;
        using var watchdog = new Timer(_ => Watch(), null, HangLimit, TimeSpan.FromSeconds(1));
        // The shortest first, so that the longer ones stay only for what they reach besides.
        foreach (var input in inputs.Prepend([]).OrderBy(static input => input.Length))
        {
            if (!await TryAsync(input))
            {
                return false;
            }
        }
        (_knownInputs, _knownPlaces) = (_inputs.Count, Coverage.Count);
        output.WriteLine($"{target.Name}: seed {seed}, {_knownInputs} inputs reach {_knownPlaces} places");
        var heap = GC.GetTotalMemory(forceFullCollection: true);
        return await MutateAsync(time, new Random(seed)) && IsClean(heap);
    }

    private async ValueTask<bool> MutateAsync(TimeSpan time, Random random)
    {
        var mutator = new Mutator(random, target.MaxLength);
        var shown = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(_begin) < time && _unobserved is null)
        {
            if (!await TryAsync(mutator.Mutate(Pick(random), _inputs[random.Next(_inputs.Count)])))
            {
                return false;
            }
            if (Stopwatch.GetElapsedTime(shown) > ShowEvery)
            {
                shown = Stopwatch.GetTimestamp();
                Show();
            }
        }
        Show();
        return true;
    }

    /// <summary>Whether nothing is left of all the runs.</summary>
    private bool IsClean(long heap)
    {
        // What a faulted task was forgotten with shows when the collector finds it.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var growth = GC.GetTotalMemory(forceFullCollection: true) - heap;
        if (growth > GrowthLimit)
        {
            output.WriteLine($"{target.Name}: the heap has grown by {growth} bytes in {_executions} executions");
        }
        if (_unobserved is not null)
        {
            output.WriteLine($"{target.Name}: nobody observed a task's exception, of some input before: {_unobserved}");
        }
        return growth <= GrowthLimit && _unobserved is null;
    }

    private void Show() => output.WriteLine(
        $"{target.Name}: {_executions} executions, {_executions / Stopwatch.GetElapsedTime(_begin).TotalSeconds:F0}/s, "
        + $"{Coverage.Count - _knownPlaces} new places, corpus {_inputs.Count} ({_inputs.Count - _knownInputs} new), "
        + $"heap {GC.GetGCMemoryInfo().HeapSizeBytes >> 20} MiB");

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
        var bound = target.AllocationBound(input.Length);
        var allocated = await AllocatedByAsync(input, precise: false);
        if (allocated > bound)
        {
            // Cheaply, the runtime counts what it set apart for threads to allocate from, up to hundreds of KiB at once.
            allocated = await AllocatedByAsync(input, precise: true);
        }
        Volatile.Write(ref _started, 0);
        FuzzFailure.Unless(allocated <= bound, $"{input.Length} bytes of input brought about {allocated} bytes allocated");
    }

    private async ValueTask<long> AllocatedByAsync(byte[] input, bool precise)
    {
        var before = GC.GetTotalAllocatedBytes(precise);
        await target.RunAsync(input);
        return GC.GetTotalAllocatedBytes(precise) - before;
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
