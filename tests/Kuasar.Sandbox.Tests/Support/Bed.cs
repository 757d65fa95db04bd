using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Support;

/// <summary>What a host puts together, without the host: loop, reaper, handles, and a folder that goes at the end.</summary>
internal sealed class Bed : IDisposable
{
    internal Bed()
    {
        Folder = Directory.CreateTempSubdirectory("kuasar-test-").FullName;
        Loop = new EventLoop(NullLogger.Instance);
        Reaper = new ChildReaper(Loop, Time, NullLogger.Instance);
        Processes = new HostProcesses(Reaper);
        Stdio = new StdioEnvironment(Loop, Handles, Processes, Time, Path.Combine(Folder, "c"));
        Services = new SandboxerServices(Processes, NullLoggerFactory.Instance, Time, Folder);
    }

    internal string Folder { get; }

    internal ManualTime Time { get; } = new();

    internal EventLoop Loop { get; }

    internal ChildReaper Reaper { get; }

    internal HandleStore Handles { get; } = new();

    internal HostProcesses Processes { get; }

    internal StdioEnvironment Stdio { get; }

    internal SandboxerServices Services { get; }

    internal string PathOf(string name) => Path.Combine(Folder, name);

    internal string Fifo(string name)
    {
        Native.MakeFifo(PathOf(name));
        return PathOf(name);
    }

    internal string Script(string name, string text)
    {
        File.WriteAllText(PathOf(name), "#!/bin/sh\n" + text + "\n");
        File.SetUnixFileMode(PathOf(name), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return PathOf(name);
    }

    internal HostProcess Shell(string script, SafeFileHandle? stdin = null, SafeFileHandle? stdout = null, SafeFileHandle? stderr = null) =>
        Processes.Start("/bin/sh", ["-c", script], stdin, stdout, stderr);

    /// <summary>Runs a script to its end and returns what it wrote.</summary>
    internal static async Task<string> OutputOf(Func<SafeFileHandle, HostProcess> start)
    {
        var (read, write) = Libc.Pipe();
        using (read)
        {
            using var process = start(write);
            write.Dispose();
            var text = await Task.Run(() => System.Text.Encoding.UTF8.GetString(Libc.ReadToEnd(read, 1 << 20, "output"))).InTime();
            await process.Exited.InTime();
            return text;
        }
    }

    /// <summary>How many fds this process has to begin with: what earlier tests have let go of is closed.</summary>
    internal static int DescriptorsBefore()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return OpenDescriptors;
    }

    /// <summary>How many fds this process has.</summary>
    internal static int OpenDescriptors => Directory.GetFileSystemEntries("/proc/self/fd").Length;

    /// <summary>
    /// Ends whatever a test has left running. This process is the subreaper: an orphan of what is killed in one round is a child of ours in
    /// the next.
    /// </summary>
    internal static void EndDescendants()
    {
        for (var round = 0; round < 100; round++)
        {
            var children = Directory.GetDirectories("/proc/self/task")
                .SelectMany(task => Procfs.Words($"{task}/children")).Select(int.Parse).ToArray();
            if (children.Length == 0)
            {
                return;
            }
            foreach (var child in children)
            {
                Libc.Kill(child, Libc.SIGKILL);
                Libc.TryReap(child);
            }
            Thread.Sleep(2);
        }
    }

    public void Dispose()
    {
        Reaper.Dispose();
        EndDescendants();
        Loop.Dispose();
        Handles.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}
