using Kuasar.Vmm.Conformance.Tests.Bench;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Conformance.Tests;

/// <summary>
/// What every driver must do, whatever its hypervisor. A driver's tests are a class derived from this. What a hypervisor cannot do must be refused
/// before anything happens, and then the test is about that.
/// </summary>
public abstract partial class DriverConformance : IAsyncDisposable
{
    /// <summary>A machine's end must be seen, told and cleaned up within.</summary>
    private static readonly TimeSpan s_endLimit = TimeSpan.FromSeconds(2);

    private readonly ScratchFolder _scratch = new();
    private readonly List<VirtualMachine> _machines = [];
    private readonly DriverBench _bench;
    private readonly CancellationTokenSource _limit = new(TimeSpan.FromMinutes(2));
    private VmRecord? _saved;
    private int _lastFolder;

    /// <param name="bench">The driver's.</param>
    protected DriverConformance(DriverBench bench) => _bench = bench;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        IReadOnlyList<int> left = [];
        try
        {
            foreach (var machine in _machines)
            {
                // Also of one that has ended: its processes may be on their way out.
                await machine.KillAsync();
                await machine.DisposeAsync();
            }
            left = _scratch.Processes();
        }
        finally
        {
            // Ends what a failed test has left, too.
            _scratch.Dispose();
            _limit.Dispose();
        }
        GC.SuppressFinalize(this);
        Assert.Empty(left);
    }

    private CancellationToken Limit => _limit.Token;

    private bool Can(VmCapabilities capabilities) => _bench.Hypervisor.Capabilities.HasFlag(capabilities);

    private VmConfig Config() => _bench.Config(_scratch.Path("console"));

    // Where there are any: its daemon ends by itself then, and is not to be taken for the cause of its machine's end.
    private VmConfig ConfigWithFolder() => Config() with { FileSystems = Can(VmCapabilities.FileSystem) ? [Folder()] : [] };

    private VmFileSystem Folder() => new("share", "kuasar", _scratch.Folder("shared"));

    private VmEnvironment Environment(string? folder = null) => new(folder ?? _scratch.Path($"vm{Interlocked.Increment(ref _lastFolder)}"))
    {
        Save = record => _saved = record.Clone(),
    };

    private VirtualMachine Create(VmConfig? config = null, VmEnvironment? environment = null)
    {
        var machine = _bench.Hypervisor.Create(config ?? Config(), environment ?? Environment());
        _machines.Add(machine);
        return machine;
    }

    private async Task<VirtualMachine> BootAsync(VmConfig? config = null)
    {
        var machine = Create(config);
        await using var home = machine.EndPoint(AgentClient.CallHomePort).Listen();
        await machine.BootAsync(Limit);
        await AnswerAsync(home);
        return machine;
    }

    // One that runs, where it does not matter how far its guest has come.
    private async Task<VirtualMachine> StartAsync(VmConfig? config = null)
    {
        var machine = Create(config);
        await machine.BootAsync(Limit);
        return machine;
    }

    // The guest says that it is up by calling home.
    private async Task AnswerAsync(VsockListener home)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Limit);
        limit.CancelAfter(_bench.BootLimit);
        await using var call = await home.AcceptStreamAsync(limit.Token);
        Assert.NotNull(call);
    }

    private static async Task<VmException> RefusedAsync(VmError error, Func<Task> action)
    {
        var refusal = await Assert.ThrowsAsync<VmException>(action);
        Assert.True(error == refusal.Error, $"{refusal.Error}: {refusal.Message}");
        return refusal;
    }

    private static Task<VmExit> EndAsync(VirtualMachine machine) => machine.Exited.WaitAsync(s_endLimit);
}
