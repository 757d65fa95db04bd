namespace Kuasar.Vmm;

/// <summary>Why a vsock connection could not be made, or was lost.</summary>
public enum VsockFailure
{
    /// <summary>The operating system refused; the message says what.</summary>
    System,

    /// <summary>No hypervisor listens on the unix socket: not started yet, or gone.</summary>
    NoHypervisor,

    /// <summary>The guest's vsock driver is not up yet: try again in 20 to 50 ms, or let the guest call home.</summary>
    NotReady,

    /// <summary>The guest is up, and nobody listens on the port.</summary>
    Refused,

    /// <summary>No answer in time.</summary>
    TimedOut,

    /// <summary>The other side does not speak hybrid vsock.</summary>
    Protocol,

    /// <summary>An open connection broke: the guest, its hypervisor or its vsock daemon has gone.</summary>
    Lost,

    /// <summary>Somebody listens on the port already.</summary>
    InUse,
}

/// <summary>A vsock connection that could not be made, or was lost.</summary>
public sealed class VsockException : IOException
{
    /// <summary>An exception with a reason and a message that names the endpoint.</summary>
    public VsockException(VsockFailure reason, string message, Exception? innerException = null)
        : base(message, innerException) => Reason = reason;

    /// <summary>Why.</summary>
    public VsockFailure Reason { get; }
}
