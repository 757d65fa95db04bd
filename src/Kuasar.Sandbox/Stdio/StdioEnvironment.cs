using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <summary>What all streams of a sandboxer share.</summary>
internal sealed record StdioEnvironment(
    EventLoop Loop, IHandleStore Handles, HostProcesses Processes, TimeProvider Time, string ConsoleDirectory)
{
    /// <summary>Where the streams of processes are opened by their ids; null: not served.</summary>
    internal StreamTable? Streams { get; init; }

    /// <summary>Keeps the handle in place of what an earlier life kept under the name, for a process that was not to be.</summary>
    internal void KeepAnew(string name, SafeFileHandle handle)
    {
        Handles.Forget(name);
        Handles.Keep(name, handle);
    }
}
