using Kuasar.Protocol.Contracts.TaskTypes;

namespace Kuasar.Sandbox.Tasks;

/// <summary>
/// The life of a process, init or exec. Every arrow is taken on the process's lane.
/// <code>
///   Created --Start--> Running --Pause--> Paused         Pause and Resume: init alone; an exec shows its container's state
///      |                 |  ^---Resume------|
///      | exit            | exit             | exit       an exit is reported once, after the start, and after the exits of all execs
///      |                 v                  |
///      '-------------> Stopped &lt;------------'
///      | Delete          | Delete
///      '---> Deleted &lt;---'                                no way back; the id is free again
/// </code>
/// </summary>
internal enum ProcessState
{
    Created,
    Running,
    Paused,
    Stopped,
    Deleted,
}

internal static class ProcessStates
{
    internal static Status ToContract(this ProcessState state) => state switch
    {
        ProcessState.Created => Status.Created,
        ProcessState.Running => Status.Running,
        ProcessState.Paused => Status.Paused,
        _ => Status.Stopped,
    };
}
