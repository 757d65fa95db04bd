using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Vsock;
using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm;

/// <summary>
/// One virtual machine, with its hypervisor's process and the daemons that it needs. Its calls are done one at a time; it may end at any
/// moment. Thread-safe.
/// </summary>
/// <remarks>
/// Nothing of it ends with this object or with this process: whoever has its <see cref="Record"/> takes it over by
/// <see cref="Hypervisor.RecoverAsync"/>.
/// </remarks>
public abstract partial class VirtualMachine : IAsyncDisposable
{
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly DialGate _dials = new();
    private volatile VmState _state;

    private protected VirtualMachine(VmRecord record, VmCapabilities capabilities, VmEnvironment environment)
    {
        Record = record;
        Capabilities = capabilities;
        Environment = environment;
        Logger = environment.LoggerFactory.CreateLogger("Kuasar.Vmm");
        _state = record.State switch { VmRecord.Types.State.Running => VmState.Running, VmRecord.Types.State.Paused => VmState.Paused, _ => VmState.Created };
        if (_state == VmState.Paused)
        {
            // Nobody dials yet: it is done at once.
            _ = _dials.ShutAsync(CancellationToken.None);
        }
    }

    /// <summary>What its hypervisor can do for this machine.</summary>
    public VmCapabilities Capabilities { get; }

    /// <summary>Where it stands at this moment.</summary>
    public VmState State => _state;

    /// <summary>Completes once, with success, when it has ended and nothing of it is left.</summary>
    public Task<VmExit> Exited => _exited.Task;

    /// <summary>Asks the guest to power off, for <see cref="PowerDownAsync"/>: usually its agent. Null: the hypervisor's power button is pressed.</summary>
    public Func<CancellationToken, Task>? GuestPowerOff { get; set; }

    /// <summary>Starts all that it needs, and then its vcpus. When it fails, nothing is left, and it has ended.</summary>
    /// <exception cref="VmException">WrongState, Refused, TimedOut, Ended.</exception>
    public Task BootAsync(CancellationToken cancellationToken) => InTurnAsync("boot", VmCapabilities.None, [VmState.Created], async () =>
    {
        try
        {
            await BootCoreAsync(cancellationToken).ConfigureAwait(false);
            Enter(VmState.Running);
        }
        catch (Exception e)
        {
            await EndAsync(new VmExit(VmExitReason.HypervisorFailed, Environment.TimeProvider.GetUtcNow(), $"it did not boot: {e.Message}")).ConfigureAwait(false);
            throw;
        }
    }, cancellationToken);

    internal Task RestoreAsync(string directory, CancellationToken cancellationToken) => InTurnAsync("restore", VmCapabilities.Snapshot, [VmState.Created], async () =>
    {
        try
        {
            await _dials.ShutAsync(cancellationToken).ConfigureAwait(false);
            await RestoreCoreAsync(directory, cancellationToken).ConfigureAwait(false);
            Enter(VmState.Paused);
        }
        catch (Exception e)
        {
            await EndAsync(new VmExit(VmExitReason.HypervisorFailed, Environment.TimeProvider.GetUtcNow(), $"it was not restored: {e.Message}")).ConfigureAwait(false);
            throw;
        }
    }, cancellationToken);

    /// <summary>
    /// Stops the vcpus. <see cref="ConnectAsync"/> waits until it is resumed; what is written to open connections reaches the guest then.
    /// </summary>
    /// <exception cref="VmException">Unsupported, WrongState, Refused, TimedOut, Ended.</exception>
    public Task PauseAsync(CancellationToken cancellationToken) => InTurnAsync("pause", VmCapabilities.Pause, [VmState.Running], async () =>
    {
        await _dials.ShutAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            await PauseCoreAsync(cancellationToken).ConfigureAwait(false);
            Enter(VmState.Paused);
        }
        catch
        {
            _dials.Open();
            throw;
        }
    }, cancellationToken);

    /// <summary>Lets the vcpus go on.</summary>
    /// <exception cref="VmException">Unsupported, WrongState, Refused, TimedOut, Ended.</exception>
    public Task ResumeAsync(CancellationToken cancellationToken) => InTurnAsync("resume", VmCapabilities.Pause, [VmState.Paused], async () =>
    {
        await ResumeCoreAsync(cancellationToken).ConfigureAwait(false);
        Enter(VmState.Running);
        _dials.Open();
    }, cancellationToken);

    /// <summary>Plugs in a disk, an interface or a shared folder. The guest has it some 0.2 s later.</summary>
    /// <exception cref="VmException">InvalidConfig, Unsupported, WrongState, Refused, TimedOut, Ended.</exception>
    public Task AddDeviceAsync(VmDevice device, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(device);
        device.Validate();
        return InTurnAsync("add a device", device.Hotplug, [VmState.Running, VmState.Paused], async () =>
        {
            VmConfig.Require(Record.Devices.All(other => other.Id != device.Id), $"there is a device {device.Id} already");
            var entry = Describe(device);
            entry.Change = VmDeviceRecord.Types.Change.Adding;
            Note(record => record.Devices.Add(entry));
            try
            {
                await AddDeviceCoreAsync(device, cancellationToken).ConfigureAwait(false);
            }
            catch
            {
                Note(record => record.Devices.Remove(record.Devices.First(other => other.Id == device.Id)));
                throw;
            }
            Note(record => record.Devices.First(other => other.Id == device.Id).Change = VmDeviceRecord.Types.Change.None);
        }, cancellationToken);
    }

    /// <summary>Unplugs a device, and waits until the guest has let go of it.</summary>
    /// <exception cref="VmException">NoSuchDevice, Unsupported, WrongState, Refused, TimedOut (the guest keeps it), Ended.</exception>
    public Task RemoveDeviceAsync(string id, CancellationToken cancellationToken)
    {
        return InTurnAsync("remove a device", HotplugOf(Find()), [VmState.Running, VmState.Paused], async () =>
        {
            // Another turn may have removed it.
            var device = Find();
            Note(_ => device.Change = VmDeviceRecord.Types.Change.Removing);
            try
            {
                await RemoveDeviceCoreAsync(device, cancellationToken).ConfigureAwait(false);
            }
            catch (VmException e) when (e.Error is VmError.WrongState or VmError.Unsupported or VmError.Refused)
            {
                // It stays: who takes the machine over must not remove it.
                Note(_ => device.Change = VmDeviceRecord.Types.Change.None);
                throw;
            }
            Note(record => record.Devices.Remove(device));
        }, cancellationToken);

        VmDeviceRecord Find() => Record.Devices.FirstOrDefault(other => other.Id == id) ?? throw new VmException(VmError.NoSuchDevice, $"there is no device {id}");
    }

    /// <summary>Changes what the machine has, up to the configuration's limits.</summary>
    /// <param name="vcpus">Null: as it is.</param>
    /// <param name="memoryBytes">Null: as it is. Less than now takes memory back from the guest as far as it gives it.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="VmException">InvalidConfig, Unsupported, WrongState, Refused, TimedOut, Ended.</exception>
    public Task ResizeAsync(int? vcpus, long? memoryBytes, CancellationToken cancellationToken)
    {
        var needs = (vcpus is null ? 0 : VmCapabilities.ResizeCpu) | (memoryBytes is null ? 0 : VmCapabilities.ResizeMemory);
        VmConfig.Require(vcpus is null || (vcpus > 0 && vcpus <= Math.Max(Record.MaxVcpus, Record.Vcpus)), $"{vcpus} vcpus of at most {Record.MaxVcpus}");
        VmConfig.Require(
            memoryBytes is null || (memoryBytes > 0 && memoryBytes <= Math.Max(Record.MaxMemoryBytes, Record.MemoryBytes)), $"{memoryBytes} bytes of at most {Record.MaxMemoryBytes}");
        return InTurnAsync("resize", needs, [VmState.Running], () => ResizeCoreAsync(vcpus, memoryBytes, cancellationToken), cancellationToken);
    }

    /// <summary>Writes all of a paused machine into a folder; it stays paused.</summary>
    /// <param name="directory">Absolute; made when it is not there.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="VmException">Unsupported (a device stands against it), WrongState, Refused, TimedOut, Ended.</exception>
    public Task SnapshotAsync(string directory, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        return InTurnAsync("snapshot", VmCapabilities.Snapshot, [VmState.Paused], () =>
        {
            Directory.CreateDirectory(directory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            return SnapshotCoreAsync(directory, cancellationToken);
        }, cancellationToken);
    }

    /// <summary>
    /// Ends it: by <see cref="GuestPowerOff"/> or the power button, then, when the time is over, by force. Returns when it has ended.
    /// </summary>
    public async Task<VmExit> PowerDownAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (State == VmState.Running)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(timeout);
            IsPoweringDown = true;
            try
            {
                await (GuestPowerOff?.Invoke(limit.Token) ?? PowerDownCoreAsync(limit.Token)).ConfigureAwait(false);
                return await Exited.WaitAsync(limit.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or IOException or Grpc.Core.RpcException && !cancellationToken.IsCancellationRequested)
            {
                NotInPeace(Logger, Environment.WorkDirectory, e.Message);
            }
        }
        return await KillAsync().WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Ends it at once, whatever its state. Returns when nothing of it is left.</summary>
    public Task<VmExit> KillAsync() => EndAsync(new VmExit(VmExitReason.Killed, Environment.TimeProvider.GetUtcNow(), "it was asked to end"));

    /// <summary>Where the guest's ports are dialled, and where the host listens for what the guest dials.</summary>
    /// <exception cref="VmException">Unsupported: it has no vsock.</exception>
    public VsockEndPoint EndPoint(uint port) => Record.ContextId == 0
        ? throw new VmException(VmError.Unsupported, "this machine has no vsock")
        : VsockEndPoint.Hybrid(VsockPath, port);

    /// <summary>Dials a port of the guest once; waits while the machine is paused.</summary>
    /// <returns>The caller disposes it.</returns>
    /// <exception cref="VsockException">Nobody is there, or does not answer in time.</exception>
    /// <exception cref="VmException">Unsupported: it has no vsock.</exception>
    public async Task<VsockStream> ConnectAsync(uint port, TimeSpan timeout, CancellationToken cancellationToken)
    {
        var endPoint = EndPoint(port);
        using var pass = await _dials.EnterAsync(cancellationToken).ConfigureAwait(false);
        return await endPoint.ConnectAsync(timeout, Environment.HoldConnection, cancellationToken).ConfigureAwait(false);
    }

    private async Task InTurnAsync(string verb, VmCapabilities needs, VmState[] states, Func<Task> action, CancellationToken cancellationToken)
    {
        VmConfig.Require(needs, Capabilities);
        await _turn.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            if (!states.Contains(_state))
            {
                throw new VmException(_state == VmState.Ended ? VmError.Ended : VmError.WrongState, $"{verb}: the machine is {_state}");
            }
            await action().ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException and not VmException or UnauthorizedAccessException)
        {
            // A program that cannot be started, a file that has gone.
            throw new VmException(VmError.Unknown, $"{verb}: {e.Message}", e);
        }
        finally
        {
            _turn.Release();
        }
    }

    private void Enter(VmState state)
    {
        lock (_lock)
        {
            if (_state == VmState.Ended)
            {
                throw new VmException(VmError.Ended, "the machine has ended meanwhile");
            }
            _state = state;
        }
        Note(record => record.State = state == VmState.Running ? VmRecord.Types.State.Running : VmRecord.Types.State.Paused);
    }

    private static VmDeviceRecord Describe(VmDevice device) => device switch
    {
        VmDisk disk => new VmDeviceRecord { Id = device.Id, Disk = new() { Path = disk.Path, ReadOnly = disk.ReadOnly } },
        VmNet net => new VmDeviceRecord { Id = device.Id, Net = new() { MacAddress = net.MacAddress, TapName = net.TapName ?? "" } },
        VmFileSystem fs => new VmDeviceRecord { Id = device.Id, FileSystem = new() { Tag = fs.Tag, SharedDirectory = fs.SharedDirectory } },
        _ => throw new ArgumentException($"{device} is no device that a machine may have", nameof(device)),
    };

    private static VmCapabilities HotplugOf(VmDeviceRecord device) => device.KindCase switch
    {
        VmDeviceRecord.KindOneofCase.Disk => VmCapabilities.HotplugDisk,
        VmDeviceRecord.KindOneofCase.Net => VmCapabilities.HotplugNet,
        _ => VmCapabilities.HotplugFileSystem,
    };

    /// <summary>Lets go of it. It runs on, and is no more to be used.</summary>
    public async ValueTask DisposeAsync()
    {
        await LetGoAsync().ConfigureAwait(false);
        _turn.Dispose();
        GC.SuppressFinalize(this);
    }

    [LoggerMessage(EventId = 700, Level = LogLevel.Warning, Message = "The machine in {Folder} did not end in peace and is killed: {Reason}")]
    private static partial void NotInPeace(ILogger logger, string folder, string reason);
}
