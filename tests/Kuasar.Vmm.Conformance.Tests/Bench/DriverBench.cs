namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>A driver with a hypervisor to drive and guests that can be talked to.</summary>
public abstract class DriverBench
{
    /// <summary>The driver.</summary>
    public abstract Hypervisor Hypervisor { get; }

    /// <summary>How a guest's power-off is told: some machines only know resets.</summary>
    public virtual VmExitReason PowerOffReason => VmExitReason.GuestShutdown;

    /// <summary>How a panic is told: by some like a reset.</summary>
    public virtual VmExitReason PanicReason => VmExitReason.GuestReset;

    /// <summary>Within which a guest answers.</summary>
    public virtual TimeSpan BootLimit => TimeSpan.FromSeconds(10);

    /// <summary>Shared folders and vsock daemons stand against it.</summary>
    public virtual bool CanSave => Hypervisor.Capabilities.HasFlag(VmCapabilities.Snapshot);

    /// <summary>A machine with vsock and a console.</summary>
    /// <param name="console">Where its console goes.</param>
    public abstract VmConfig Config(string console);

    /// <summary>Sends bytes to the guest and gets them back.</summary>
    public abstract Task EchoAsync(VirtualMachine machine, CancellationToken cancellationToken);

    /// <summary>Has the guest send a few hundred thousand bytes, bit by bit, over an open connection.</summary>
    public abstract Task ListenToAsync(VirtualMachine machine);

    /// <summary>Has the guest power off.</summary>
    public abstract Task PowerOffAsync(VirtualMachine machine);

    /// <summary>Has the guest reset itself.</summary>
    public abstract Task ResetAsync(VirtualMachine machine);

    /// <summary>Has the guest's kernel panic.</summary>
    public abstract Task PanicAsync(VirtualMachine machine);

    /// <summary>Makes the guest ignore its power button.</summary>
    public abstract Task DeafenAsync(VirtualMachine machine);

    /// <summary>Has the guest keep something in its memory.</summary>
    public abstract Task RememberAsync(VirtualMachine machine, string text);

    /// <summary>What the guest has in its memory.</summary>
    public abstract Task<string> RecallAsync(VirtualMachine machine);

    /// <summary>CPUs that the guest has online.</summary>
    public abstract Task<int> CpusAsync(VirtualMachine machine);

    /// <summary>Bytes of memory that the guest has; null: it cannot tell exactly.</summary>
    public abstract Task<long?> MemoryAsync(VirtualMachine machine);

    /// <summary>A port of the guest where somebody listens, and reads.</summary>
    public virtual uint Port => AgentClient.Port;

    /// <summary>A port of the guest where nobody listens.</summary>
    public virtual uint ClosedPort => 9;
}
