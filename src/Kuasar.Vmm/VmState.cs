namespace Kuasar.Vmm;

/// <summary>
/// Where a machine stands.
/// <code>
/// Created --Boot--> Running &lt;--Resume, Pause--> Paused
///    \__________________|__________________________/ --> Ended
/// </code>
/// </summary>
public enum VmState
{
    /// <summary>Nothing has been started.</summary>
    Created,

    /// <summary>Its vcpus run.</summary>
    Running,

    /// <summary>Its vcpus stand still.</summary>
    Paused,

    /// <summary>It has no process any more, and never will have.</summary>
    Ended,
}
