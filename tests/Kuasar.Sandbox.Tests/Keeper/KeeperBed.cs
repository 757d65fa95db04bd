using System.Globalization;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Support;
using Task = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace Kuasar.Sandbox.Tests.Keeper;

/// <summary>A keeper with its sandboxer (<see cref="Puppet"/>), in processes of their own.</summary>
internal sealed class KeeperBed : IDisposable
{
    private readonly Bed _bed = new();

    internal KeeperBed(string? binary = null)
    {
        Directory.CreateDirectory(Run);
        Keeper = _bed.Processes.Start(binary ?? Binary("v1"), [Puppet.Command, Run]);
    }

    internal HostProcess Keeper { get; }

    internal string Run => _bed.PathOf("run");

    internal string Socket => Path.Combine(Run, "task.sock");

    internal string Status => KeeperClient.Status(Run);

    internal string[] Acts => File.Exists(Path.Combine(Run, "acts")) ? File.ReadAllLines(Path.Combine(Run, "acts")) : [];

    /// <summary>This program under a name that says what it does.</summary>
    internal static string Binary(string version)
    {
        var own = Path.Combine(AppContext.BaseDirectory, "Kuasar.Sandbox.Tests");
        var path = $"{own}-{version}";
        lock (typeof(KeeperBed))
        {
            if (!File.Exists(path))
            {
                File.Copy(own, path);
            }
        }
        return path;
    }

    /// <summary>The sandboxer serves: the file alone is there before anybody listens.</summary>
    internal Task ServesAsync() => Within.Until(
        () => File.Exists(Path.Combine(Run, "keeper.sock")) && TryStatus()?.Contains("stage=Ready", StringComparison.Ordinal) == true, "it serves");

    internal async Task<TtrpcClient> ConnectAsync()
    {
        await ServesAsync();
        return await TtrpcClient.ConnectAsync(Socket);
    }

    /// <summary>Kills the sandboxer; the keeper knows of it when this returns.</summary>
    internal async Task KillSandboxerAsync(TtrpcClient client)
    {
        var restarts = StatusOf("restarts");
        Kill(await SandboxerAsync(client));
        await Within.Until(() => StatusOf("restarts") > restarts, "the death is known");
    }

    private string? TryStatus()
    {
        try
        {
            return Status;
        }
        catch (SandboxException)
        {
            return null;
        }
    }

    internal static async Task<int> SandboxerAsync(TtrpcClient client) => (int)(await StateAsync(client)).Pid;

    internal static async Task<StateResponse> StateAsync(TtrpcClient client) =>
        await new TaskClient(client).StateAsync(new StateRequest { Id = "any" }).ResponseAsync.InTime();

    internal static void Kill(int pid) => Libc.Kill(pid, Libc.SIGKILL);

    /// <summary>What an id's orphan will run.</summary>
    internal void Script(string id, string text) => File.WriteAllText(Path.Combine(Run, id), text + "\n");

    internal string Fifo(string name)
    {
        Native.MakeFifo(Path.Combine(Run, name));
        return Path.Combine(Run, name);
    }

    internal long StatusOf(string name) => long.Parse(
        Status.Split(' ').Single(word => word.StartsWith(name + "=", StringComparison.Ordinal))[(name.Length + 1)..], CultureInfo.InvariantCulture);

    public void Dispose()
    {
        Keeper.Signal(Libc.SIGKILL);
        Keeper.Dispose();
        _bed.Dispose();
    }
}
