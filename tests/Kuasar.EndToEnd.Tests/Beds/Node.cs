namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>A containerd and the sandboxer that serves it: what is called a node elsewhere.</summary>
public sealed class Node
{
    private readonly string _binaries;

    private readonly string? _program;

    private Node(Bed bed, string binaries, string runDirectory, string? program)
    {
        Bed = bed;
        _binaries = binaries;
        _program = program;
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

    internal string SandboxerLog => Path.Combine(Bed.Folder, "sandboxer.log");

    /// <summary>
    /// Starts one; served by <paramref name="other"/>'s sandboxer if given, else by one of its own, which is <paramref name="program"/> if given.
    /// </summary>
    internal static async Task<Node> StartAsync(string name, string binaries, Node? other = null, string? program = null)
    {
        var bed = new Bed(name);
        var node = new Node(bed, binaries, other?.RunDirectory ?? Path.Combine(bed.Run, "k"), program);
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

    internal async Task StartSandboxerAsync() =>
        Sandboxer = await SandboxerProcess.StartAsync(_program ?? Path.Combine(Bed.Folder, "bin/kuasar-runc-sandboxer"), RunDirectory, Bed.Runc, SandboxerLog);

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
        foreach (var records in (string[])["tasks", "sandboxes"])
        {
            if (Sandboxer is not null && Directory.Exists(Path.Combine(RunDirectory, records)))
            {
                problems.AddRange(Directory.EnumerateFiles(Path.Combine(RunDirectory, records), "*", SearchOption.AllDirectories).Select(f => $"file {f}"));
            }
        }
        await Bed.CleanAsync();
        return problems;
    }

    private void InstallBinaries()
    {
        var folder = Directory.CreateDirectory(Path.Combine(Bed.Folder, "bin")).FullName;
        foreach (var program in (string[])["kuasar-runc-sandboxer", "containerd-shim-kuasar-runc-v1"])
        {
            var target = Path.Combine(folder, program);
            File.Delete(target);
            File.Copy(Path.Combine(_binaries, program), target);
        }
        File.WriteAllText(Path.Combine(folder, "containerd-shim-kuasar-runc-v1.conf"), $"run-dir={RunDirectory}\n");
    }
}
