using System.Globalization;
using Kuasar.Protocol.Fuzz;
using Kuasar.Protocol.Fuzz.Engine;

// eng/fuzz.sh has the usage.
switch (args)
{
    case ["run", var seconds, .. var names]:
        return await RunAsync(int.Parse(seconds, CultureInfo.InvariantCulture), names);
    case ["child", var name, var seconds, var current]:
        return await ChildAsync(FuzzTargets.Find(name), int.Parse(seconds, CultureInfo.InvariantCulture), current);
    case ["again", var name, .. var files]:
        return await AgainAsync(FuzzTargets.Find(name), files);
    default:
        await Console.Error.WriteLineAsync("usage: run SECONDS [TARGET...] | again TARGET FILE...");
        return 2;
}

static string[] Names(string[] names) => names.Length > 0 ? names : [.. FuzzTargets.All.Select(target => target.Name)];

static async Task<int> RunAsync(int seconds, string[] names)
{
    names = Names(names);
    var failed = 0;
    foreach (var name in names)
    {
        if (await FuzzRun.RunAsync(FuzzTargets.Find(name).Name, seconds == 0 ? 0 : Math.Max(1, seconds / names.Length), Console.Out) is { } reason)
        {
            Console.WriteLine(reason);
            failed = 1;
        }
    }
    return failed;
}

static async Task<int> ChildAsync(FuzzTarget target, int seconds, string currentFile)
{
    Coverage.Start();
    Coverage.IgnoreCounts = seconds == 0;
    using var current = new CurrentInput(currentFile);
    var found = Path.Combine(Corpus.Artifacts, target.Name, "found");
    var known = Corpus.Read(Corpus.Committed(target.Name)).Concat(Corpus.Read(found)).Select(file => file.Bytes);
    var loop = new FuzzLoop(target, current, Console.Out);
    var well = await loop.RunAsync(TimeSpan.FromSeconds(seconds), Environment.TickCount, target.Seeds().Concat(known));
    // All that is worth keeping, in place of what the folder had: the shortest inputs come first, and many are superseded.
    foreach (var (name, _) in Corpus.Read(found).ToList())
    {
        File.Delete(Path.Combine(found, name));
    }
    foreach (var input in loop.Inputs)
    {
        Corpus.Write(found, "", input);
    }
    return well ? 0 : FuzzRun.Found;
}

// Without instrumentation, so under any debugger; what breaks comes out.
static async Task<int> AgainAsync(FuzzTarget target, string[] files)
{
    foreach (var file in files)
    {
        var input = await File.ReadAllBytesAsync(file);
        Console.WriteLine($"{file}: {Convert.ToHexStringLower(input)}");
        var before = GC.GetTotalAllocatedBytes(precise: true);
        await target.RunAsync(input);
        Console.WriteLine($"{GC.GetTotalAllocatedBytes(precise: true) - before} bytes allocated, {target.AllocationBound(input.Length)} allowed");
    }
    return 0;
}
