namespace Kuasar.Vmm;

/// <summary>What went wrong with a virtual machine.</summary>
public enum VmError
{
    /// <summary>Something else; the message says what.</summary>
    Unknown,

    /// <summary>The configuration contradicts itself or names what is not there.</summary>
    InvalidConfig,

    /// <summary>This hypervisor, or this machine as it was made, cannot do it.</summary>
    Unsupported,

    /// <summary>Not in the state that the machine is in.</summary>
    WrongState,

    /// <summary>No such device, or a second of its id.</summary>
    NoSuchDevice,

    /// <summary>The hypervisor has refused; the message is its own.</summary>
    Refused,

    /// <summary>It did not answer in time. What it does afterwards is not known.</summary>
    TimedOut,

    /// <summary>The machine, or what it needs, has ended meanwhile.</summary>
    Ended,
}

/// <summary>A virtual machine could not be made, or did not do what was asked.</summary>
public sealed class VmException(VmError error, string message, Exception? inner = null) : IOException(message, inner)
{
    /// <summary>Which kind of failure.</summary>
    public VmError Error { get; } = error;
}
