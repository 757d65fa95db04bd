namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// The life of a sandbox. Every arrow is taken on the sandbox's lane; readers see the state at any time, without it.
/// <code>
///   Creating --> Created --Start--> Starting --> Ready --Stop, own end--> Stopping --> Stopped
///      |            |                  |       containers                  |  ^           |
///      |            '-----------Stop---|-------------------------------------------------&gt;|
///      | failure                       | failure                           '--'           | Shutdown; from every other
///      v                               v                            failure, Stop again   v state by way of Stop
///   Removed                         Removed                                            Removed
/// </code>
/// A creation or a start that fails leaves nothing, and the id is free again. Containers are taken in Ready alone. What containerd calls
/// ready is Ready; all else is not.
/// </summary>
internal enum SandboxState
{
    Creating,
    Created,
    Starting,
    Ready,
    Stopping,
    Stopped,
    Removed,
}
