using System.Globalization;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Pods;

/// <summary>Starts <see cref="PodInitProgram"/> in a new pid namespace.</summary>
internal static class PodInit
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10);

    /// <summary>Runs on a thread of its own, whose other namespaces init takes over.</summary>
    /// <param name="processes">Where it is adopted.</param>
    /// <param name="onStarted">Called while init waits: from then on the caller owns it, whatever happens.</param>
    internal static void Start(HostProcesses processes, Action<HostProcess> onStarted)
    {
        var (goRead, goWrite) = Libc.Pipe();
        var (readyRead, readyWrite) = Libc.Pipe();
        using (goWrite)
        using (readyRead)
        {
            HostProcess init;
            using (goRead)
            using (readyWrite)
            {
                init = Spawn(processes, [goRead, readyWrite, null]);
            }
            onStarted(init);
            Libc.WriteAll(goWrite, "+"u8, "the pod's init");
            // A byte, then the end of the pipe: nothing is open any more.
            if (ReadByte(readyRead) != 1 || ReadByte(readyRead) != 0)
            {
                var step = init.Exited.Wait(Limit) ? init.Exited.Result.Code.ToString(CultureInfo.InvariantCulture) : "none";
                throw new SandboxException(SandboxError.Unknown, $"the pod's init did not get ready (failed step: {step})");
            }
        }
    }

    private static int ReadByte(SafeFileHandle pipe) => Libc.WaitReadable(pipe, Limit) ? Libc.Read(pipe, stackalloc byte[1]) : -1;

    private static HostProcess Spawn(HostProcesses processes, IReadOnlyList<SafeFileHandle?> handles)
    {
        using var program = Libc.Executable(PodInitProgram.Name, PodInitProgram.Build());
        var request = new SpawnRequest($"/proc/self/fd/{(int)program.DangerousGetHandle()}", [])
        {
            Name = PodInitProgram.Name,
            Environment = [],
            Handles = handles,
            WorkingDirectory = "/",
            NewSession = true,
        };
        // Until it is undone this thread can start no other, so nothing but the start stands in between.
        Libc.Unshare(Libc.CLONE_NEWPID);
        try
        {
            return processes.Start(request);
        }
        finally
        {
            Libc.EnterNamespace("/proc/self/ns/pid", Libc.CLONE_NEWPID);
        }
    }
}
