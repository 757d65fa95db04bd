using Kuasar.Linux;
using Kuasar.Vmm.Contracts;
using System.Text;

namespace Kuasar.Vmm;

/// <summary>A kind of hypervisor: makes machines, and takes over those of an earlier life.</summary>
public abstract class Hypervisor
{
    /// <summary>As <see cref="VmRecord.Hypervisor"/> has it.</summary>
    public abstract string Name { get; }

    /// <summary>What it can do.</summary>
    public abstract VmCapabilities Capabilities { get; }

    /// <summary>A machine that has not been booted; nothing is started. Its folder is made when it is not there.</summary>
    /// <returns>The caller disposes it, which ends neither it nor its processes.</returns>
    /// <exception cref="VmException">InvalidConfig, Unsupported.</exception>
    public VirtualMachine Create(VmConfig config, VmEnvironment environment)
    {
        Check(config, environment);
        return CreateCore(config, environment);
    }

    /// <summary>A machine that was saved by <see cref="VirtualMachine.SnapshotAsync"/>, paused. The configuration is the saved one's.</summary>
    /// <param name="directory">The snapshot's folder.</param>
    /// <param name="config">Whatever the saved machine had; taps and console log may be others.</param>
    /// <param name="environment">As for <see cref="Create"/>.</param>
    /// <param name="cancellationToken">Ends it; then nothing is left.</param>
    /// <returns>The caller disposes it, which ends neither it nor its processes.</returns>
    /// <exception cref="VmException">InvalidConfig, Unsupported, Refused, TimedOut.</exception>
    public async Task<VirtualMachine> RestoreAsync(string directory, VmConfig config, VmEnvironment environment, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(directory);
        Check(config, environment);
        VmConfig.Require(VmCapabilities.Snapshot, Capabilities);
        var machine = CreateCore(config, environment);
        await machine.RestoreAsync(directory, cancellationToken).ConfigureAwait(false);
        return machine;
    }

    /// <summary>Takes over a machine of an earlier life that runs or is paused.</summary>
    /// <param name="record">As it was last saved.</param>
    /// <param name="environment">The same folder; who starts processes, and who is told, may be others.</param>
    /// <param name="cancellationToken">Ends it; the machine is left as it is.</param>
    /// <returns>The machine, perhaps already ended. The caller disposes it, which ends neither it nor its processes.</returns>
    /// <exception cref="VmException">It could not be taken over, and is left as it is: WrongState, Refused, TimedOut.</exception>
    public abstract Task<VirtualMachine> RecoverAsync(VmRecord record, VmEnvironment environment, CancellationToken cancellationToken);

    /// <summary>A machine of this driver's.</summary>
    private protected abstract VirtualMachine CreateCore(VmConfig config, VmEnvironment environment);

    /// <summary>A record of this driver's, for the machine to change.</summary>
    /// <exception cref="VmException">WrongState: it is another's.</exception>
    private protected VmRecord Own(VmRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        return record.Hypervisor == Name
            ? record.Clone()
            : throw new VmException(VmError.WrongState, $"the machine in {record.WorkDirectory} is one of {record.Hypervisor}, not of {Name}");
    }

    private void Check(VmConfig config, VmEnvironment environment)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(environment);
        config.Validate(Capabilities);
        VmConfig.Require(
            Path.IsPathFullyQualified(environment.WorkDirectory) && Encoding.UTF8.GetByteCount(environment.WorkDirectory) <= 80,
            $"{environment.WorkDirectory} is no absolute path of at most 80 bytes");
        const uint OnlyOurs = 0x1C0; // 0700
        Libc.CreateFolders(environment.WorkDirectory, OnlyOurs);
    }
}
