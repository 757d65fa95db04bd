namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>A containerd and the sandboxer that serves it: what is called a node elsewhere.</summary>
public sealed class Node
{
    private readonly string _binaries;

    private readonly SandboxerPlan _plan;

    private Node(Bed bed, string binaries, string runDirectory, SandboxerPlan plan)
    {
        Bed = bed;
        _binaries = binaries;
        _plan = plan;
        RunDirectory = runDirectory;
        Client = new ContainerdClient(bed.Socket, "default");
    }

    internal Bed Bed { get; }

    /// <summary>The sandboxer's, whoever started it.</summary>
    internal string RunDirectory { get; }

    /// <summary>This node's own; null with the stock runtime, or when another node's sandboxer serves this one.</summary>
    internal SandboxerProcess? Sandboxer { get; private set; }

    internal ContainerdClient Client { get; }

    internal EventLog Events { get; private set; } = null!;

    /// <summary>As eng/containerd.sh names it in containerd's configuration.</summary>
    internal string ProxySocket => Path.Combine(Bed.Run, $"kuasar-{_plan.Kind}.sock");

    /// <summary>The sandboxer's executable.</summary>
    internal string Program => Path.Combine(Bed.Folder, "bin", SandboxerName);

    private string SandboxerName => $"kuasar-{_plan.Kind}-sandboxer";

    internal string SandboxerLog => Path.Combine(Bed.Folder, "sandboxer.log");

    /// <summary>
    /// Starts one; served by <paramref name="other"/>'s sandboxer if given, else by one of its own.
    /// </summary>
    internal static async Task<Node> StartAsync(string name, string binaries, Node? other = null, SandboxerPlan? plan = null)
    {
        var bed = new Bed(name);
        var node = new Node(bed, binaries, other?.RunDirectory ?? Path.Combine(bed.Run, "k"), plan ?? new SandboxerPlan());
        try
        {
            await bed.PrepareAsync();
            File.Delete(node.SandboxerLog);
            Directory.CreateDirectory(bed.Run);
            if (Settings.IsOurs)
            {
                node.InstallBinaries();
            }
            if (Settings.IsOurs && other is null)
            {
                await node.StartSandboxerAsync();
            }
            await bed.StartAsync();
            await bed.ImportAsync();
            node.Events = await EventLog.OpenAsync(node.Client);
            return node;
        }
        catch
        {
            await node.StopAsync();
            throw;
        }
    }

    internal async Task StartSandboxerAsync()
    {
        string[] proxy = _plan.HasProxy ? ["--proxy", ProxySocket, "--containerd", Bed.Socket] : [];
        string[] keeper = _plan.HasKeeper ? [] : ["--no-keeper"];
        var special = _plan.Arguments ?? ["--runtime", Bed.Runc];
        Sandboxer = await SandboxerProcess.StartAsync(
            _plan.Program ?? Program, RunDirectory, SandboxerLog, ["--log-level", _plan.LogLevel, .. special, .. proxy, .. keeper]);
    }

    /// <summary>After containerd was started again: its event stream has ended with it.</summary>
    internal async Task ReopenEventsAsync()
    {
        await Events.DisposeAsync();
        Events = await EventLog.OpenAsync(Client);
    }

    /// <summary>Ends everything; what should not have been left is told.</summary>
    internal async Task<IReadOnlyList<string>> StopAsync()
    {
        var problems = new List<string>();
        if (Events is not null)
        {
            await Events.DisposeAsync();
        }
        Client.Dispose();
        await Bed.StopAsync();
        if (Sandboxer is not null && !await Sandboxer.StopAsync())
        {
            problems.Add("the sandboxer did not end within 15 seconds of SIGTERM");
        }
        var left = (await Bed.LeftoversAsync()).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        // The bridge stays for the next pod.
        problems.AddRange(left.Where(l => !l.StartsWith("link ", StringComparison.Ordinal)));
        // Another's sandboxer has others' tasks.
        if (Sandboxer is not null)
        {
            problems.AddRange(Records().Select(file => $"file {file}"));
        }
        await Bed.CleanAsync();
        return problems;
    }

    /// <summary>The files that the sandboxer keeps of tasks and sandboxes.</summary>
    internal IEnumerable<string> Records() =>
        from records in (string[])["tasks", "sandboxes"]
        let folder = Path.Combine(RunDirectory, records)
        where Directory.Exists(folder)
        from file in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories)
        select file;

    private void InstallBinaries()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Bed.Folder, "bin")).FullName;
        var shim = $"containerd-shim-kuasar-{_plan.Kind}-v1";
        foreach (var program in (string[])[SandboxerName, shim])
        {
            var target = Path.Combine(folder, program);
            File.Delete(target);
            File.Copy(Path.Combine(_binaries, program), target);
        }
        File.WriteAllText(Path.Combine(folder, $"{shim}.conf"), $"run-dir={RunDirectory}\n");
    }
}
