using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using Kuasar.Vmm.Hypervisors.Qemu;
using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm;

/// <summary>QEMU: every device, and guests without KVM. Thread-safe; make one and keep it, as it tries KVM once.</summary>
public sealed partial class QemuHypervisor : Hypervisor
{
    /// <summary>A guest's kernel has long come to its end by then, if the host's processor runs it.</summary>
    private static readonly TimeSpan s_probeLimit = TimeSpan.FromSeconds(5);

    private readonly Lock _lock = new();
    private Task<bool>? _probe;

    /// <summary>QEMU as the options say.</summary>
    public QemuHypervisor(QemuOptions? options = null) => Options = options ?? new QemuOptions();

    /// <summary>How it is used.</summary>
    public QemuOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "qemu";

    /// <inheritdoc/>
    /// <remarks>Snapshot: only of a machine without vsock and shared folders.</remarks>
    public override VmCapabilities Capabilities =>
        VmCapabilities.Disk | VmCapabilities.Net | VmCapabilities.FileSystem | VmCapabilities.Vsock | VmCapabilities.Pause | VmCapabilities.Snapshot |
        (Options.Machine == QemuMachineType.MicroVm
            ? VmCapabilities.None
            : VmCapabilities.HotplugDisk | VmCapabilities.HotplugNet | VmCapabilities.HotplugFileSystem | VmCapabilities.TapHandle);

    private protected override VirtualMachine CreateCore(VmConfig config, VmEnvironment environment)
    {
        Options.Qemu.Require();
        if (config.FileSystems.Count > 0)
        {
            Options.Virtiofsd.Require();
        }
        if (config.Vsock is not null)
        {
            Options.VhostDeviceVsock.Require();
        }
        return new QemuMachine(this, VirtualMachine.NewRecord(Name, config, environment), config, environment);
    }

    /// <inheritdoc/>
    public override async Task<VirtualMachine> RecoverAsync(VmRecord record, VmEnvironment environment, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(environment);
        if (record.Hypervisor != Name)
        {
            throw new VmException(VmError.WrongState, $"a machine of {record.Hypervisor}, not of {Name}");
        }
        var machine = new QemuMachine(this, record.Clone(), null, environment);
        await machine.RecoverAsync(cancellationToken).ConfigureAwait(false);
        return machine;
    }

    /// <summary>Whether guests run on KVM: by a guest that does. That /dev/kvm can be opened says little where the host is a guest itself.</summary>
    internal async Task<bool> UsesKvmAsync(VmConfig config, VmEnvironment environment, CancellationToken cancellationToken)
    {
        if (Options.Accelerator != QemuAccelerator.Automatic)
        {
            return Options.Accelerator == QemuAccelerator.Kvm;
        }
        Task<bool> probe;
        lock (_lock)
        {
            // One that could not be tried is tried again.
            if (_probe is null or { IsFaulted: true })
            {
                _probe = File.Exists("/dev/kvm") ? Task.Run(() => ProbeAsync(config.Kernel, environment), CancellationToken.None) : Task.FromResult(false);
            }
            probe = _probe;
        }
        return await probe.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Boots the kernel with nothing to run: it panics, which ends QEMU with status 0, within a second of a real processor.</summary>
    private async Task<bool> ProbeAsync(string kernel, VmEnvironment environment)
    {
        var config = new VmConfig { Kernel = kernel, MemoryBytes = 128L << 20 };
        var qmp = environment.PathOf("probe");
        var arguments = QemuCommandLine.Build(config, Options, kvm: true, slots: 0, qmp, _ => "", incoming: null);
        arguments.Remove("-S");
        using var process = environment.Processes.Start(Options.Qemu.With(environment.PathOf("probe.log"), arguments));
        bool boots;
        try
        {
            boots = await process.Exited.WaitAsync(s_probeLimit, environment.TimeProvider).ConfigureAwait(false) == 0;
        }
        catch (TimeoutException)
        {
            boots = false;
        }
        finally
        {
            process.Signal(Libc.SIGKILL);
            await process.Exited.ConfigureAwait(false);
            Libc.TryRemoveFile(qmp);
        }
        var logger = environment.LoggerFactory.CreateLogger("Kuasar.Vmm");
        Probed(logger, boots ? "KVM" : "emulation: no guest boots with KVM here");
        return boots;
    }

    [LoggerMessage(EventId = 703, Level = LogLevel.Information, Message = "Guests run by {Accelerator}")]
    private static partial void Probed(ILogger logger, string accelerator);
}
