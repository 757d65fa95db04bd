namespace Kuasar.Vmm;

/// <summary>Why a virtual machine is no more.</summary>
public enum VmExitReason
{
    /// <summary>Nobody knows: its hypervisor ended, and said nothing.</summary>
    Unknown,

    /// <summary>The guest has powered off.</summary>
    GuestShutdown,

    /// <summary>The guest has rebooted, or its kernel has panicked: a machine of this library ends then.</summary>
    GuestReset,

    /// <summary>The guest's kernel has panicked, and said so.</summary>
    GuestPanic,

    /// <summary>It was asked to end, by <see cref="VirtualMachine.KillAsync()"/> or by a signal.</summary>
    Killed,

    /// <summary>The hypervisor has failed.</summary>
    HypervisorFailed,

    /// <summary>A daemon that the machine needs (virtiofsd, vhost-device-vsock) has ended.</summary>
    DaemonFailed,
}

/// <summary>How a virtual machine ended.</summary>
/// <param name="Reason">Why.</param>
/// <param name="At">When it was seen.</param>
/// <param name="Detail">For people: who ended with which status.</param>
public sealed record VmExit(VmExitReason Reason, DateTimeOffset At, string Detail);
