using System.Diagnostics;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Vmm.Conformance.Tests.Bench;
using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Vmm.Tests.Support;

/// <summary>A machine of QEMU in a folder of its own, with the image's agent; ended with it, whatever the test has done.</summary>
internal sealed class QemuGuest : IAsyncDisposable
{
    internal const int MiB = 1 << 20;

    private static readonly TimeSpan s_bootLimit = TimeSpan.FromSeconds(60), s_answerLimit = TimeSpan.FromSeconds(20);

    private readonly ScratchFolder _scratch = Programs.Scratch();
    private readonly QemuHypervisor _hypervisor;
    private readonly VmConfig _config;
    private byte[] _saved = [];

    internal QemuGuest(QemuOptions? options = null, Func<QemuGuest, VmConfig, VmConfig>? change = null)
    {
        Directory.CreateDirectory(Share);
        _hypervisor = new QemuHypervisor(options ?? Programs.Options);
        var config = new VmConfig
        {
            Kernel = Path.Combine(Programs.Image, "vmlinux"),
            Initrd = Path.Combine(Programs.Image, "initrd.img"),
            CommandLine = "quiet rdinit=/init mitigations=off",
            FileSystems = [new VmFileSystem("state", "kuasar", Share)],
            Vsock = new VmVsock(),
            ConsoleLog = PathOf("console.log"),
        };
        _config = config;
        Machine = _hypervisor.Create(change?.Invoke(this, config) ?? config, NewEnvironment());
    }

    internal string Share => PathOf("share");

    internal VirtualMachine Machine { get; private set; }

    /// <summary>As it was last saved.</summary>
    internal VmRecord Saved => VmRecord.Parser.ParseFrom(_saved);

    internal string Console => File.Exists(PathOf("console.log")) ? File.ReadAllText(PathOf("console.log")) : "";

    private string WorkFolder => PathOf("vm");

    /// <summary>One whose agent has called.</summary>
    internal static async Task<QemuGuest> BootAsync(QemuOptions? options = null, Func<QemuGuest, VmConfig, VmConfig>? change = null)
    {
        var guest = new QemuGuest(options, change);
        try
        {
            await using var callHome = guest.Machine.EndPoint(AgentClient.CallHomePort).Listen();
            await guest.Machine.BootAsync(CancellationToken.None);
            await using var agent = AgentClient.For(guest.Machine);
            await agent.WaitReadyAsync(callHome, s_bootLimit);
            return guest;
        }
        catch (Exception e)
        {
            var console = guest.Console;
            await guest.DisposeAsync();
            throw new InvalidOperationException($"the guest does not come up: {e.Message}\n{console}", e);
        }
    }

    internal string PathOf(string name) => _scratch.Path(name);

    /// <summary>An image of 8 MiB that begins with a text.</summary>
    internal string NewDisk(string name, string text)
    {
        File.WriteAllText(PathOf(name), text);
        using var file = File.OpenHandle(PathOf(name), FileMode.Open, FileAccess.Write);
        RandomAccess.SetLength(file, 8 * MiB);
        return PathOf(name);
    }

    /// <summary>Runs a command line in the guest: what it prints.</summary>
    internal async Task<string> RunAsync(string command, TimeSpan? limit = null)
    {
        await using var agent = AgentClient.For(Machine);
        var answer = await agent.Sandbox.ExecVMProcessAsync(new ExecVMProcessRequest { Command = command }, deadline: DateTime.UtcNow + (limit ?? s_answerLimit));
        return answer.Out.TrimEnd();
    }

    /// <summary>One after which nobody may be left to answer.</summary>
    internal async Task RunLastAsync(string command)
    {
        try
        {
            await RunAsync(command);
        }
        catch (Exception e) when (e is RpcException or IOException)
        {
        }
    }

    /// <summary>Runs a command line until what it prints is right.</summary>
    internal async Task UntilAsync(string command, Func<string, bool> isRight)
    {
        var last = "";
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < s_answerLimit; await Task.Delay(50))
        {
            last = await RunAsync(command);
            if (isRight(last))
            {
                return;
            }
        }
        Assert.Fail($"{command} prints {last}");
    }

    /// <summary>What its end is, which must be seen within two seconds.</summary>
    internal Task<VmExit> ExitAsync() => Machine.Exited.WaitAsync(TimeSpan.FromSeconds(2));

    /// <summary>As if this manager had died and another takes over, with a record.</summary>
    internal async Task TakeOverAsync(Action<VmRecord>? change = null)
    {
        var record = Saved;
        change?.Invoke(record);
        await Machine.DisposeAsync();
        Machine = await _hypervisor.RecoverAsync(record, NewEnvironment(), CancellationToken.None);
    }

    /// <summary>Another machine in the same folder, from a snapshot; the caller's, to be killed.</summary>
    internal Task<VirtualMachine> RestoreAsync(string snapshot, Func<QemuGuest, VmConfig, VmConfig> change) =>
        _hypervisor.RestoreAsync(snapshot, change(this, _config), NewEnvironment(), CancellationToken.None);

    /// <summary>No process, and no socket in its folder.</summary>
    internal void AssertNothingIsLeft(IEnumerable<VmProcessRecord> processes)
    {
        Assert.All(processes, process => Assert.False(IsAlive(process.Process.Pid), $"{process.Role}, {process.Process.Pid}, is alive"));
        Assert.DoesNotContain(Directory.EnumerateFileSystemEntries(WorkFolder), IsSocket);
        Assert.Empty(Saved.Processes);
    }

    internal static bool IsAlive(int pid)
    {
        try
        {
            // A zombie has none.
            return File.ReadAllText($"/proc/{pid}/cmdline").Length > 0;
        }
        catch (IOException)
        {
            return false;
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await Machine.KillAsync();
            await Machine.DisposeAsync();
        }
        catch (ObjectDisposedException)
        {
            // Nobody could take it over.
        }
        finally
        {
            _scratch.Dispose();
        }
    }

    private VmEnvironment NewEnvironment() => new(WorkFolder) { Save = record => _saved = record.ToByteArray() };

    private static bool IsSocket(string path) => Kuasar.Linux.Libc.SocketInode(path) != 0;
}
