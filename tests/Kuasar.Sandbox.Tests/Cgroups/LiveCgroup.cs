using System.Globalization;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Cgroups;

/// <summary>Real cgroups of this machine with one shell in them, which waits for a line before it runs its command. Removed at the end.</summary>
internal sealed class LiveCgroup : IDisposable
{
    private static int s_count;

    private readonly List<string> _folders = [];
    private readonly SafeFileHandle _stdin;
    private readonly SafeFileHandle _pidfd;

    internal int Pid { get; }

    private LiveCgroup(IEnumerable<string> hierarchies, string command)
    {
        var name = $"kuasar-test-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}";
        (var read, _stdin) = Libc.Pipe();
        using (read)
        {
            Pid = Libc.Spawn(new SpawnRequest("/bin/sh", ["-c", $"read line; {command}"]) { Handles = [read, null, null] });
        }
        _pidfd = Libc.OpenProcess(Pid)!;
        try
        {
            foreach (var hierarchy in hierarchies)
            {
                var folder = Path.Combine(hierarchy, name);
                Directory.CreateDirectory(folder);
                _folders.Add(folder);
                File.WriteAllText(Path.Combine(folder, "cgroup.procs"), Pid.ToString(CultureInfo.InvariantCulture));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Skips the test, with the reason, where the machine lacks a hierarchy or the right to use it.</summary>
    internal static LiveCgroup Create(string command, params string[] hierarchies)
    {
        foreach (var hierarchy in hierarchies)
        {
            Assert.SkipUnless(File.Exists(Path.Combine(hierarchy, "cgroup.procs")), $"no cgroup hierarchy at {hierarchy}");
        }
        try
        {
            return new LiveCgroup(hierarchies, command);
        }
        catch (UnauthorizedAccessException e)
        {
            Assert.Skip($"cgroups cannot be made here: {e.Message}");
            throw;
        }
    }

    internal string FileOf(string controller, string file) =>
        Path.Combine(_folders.Single(f => f.Split('/')[^2] == controller), file);

    internal void Go() => Libc.Write(_stdin, "\n"u8);

    /// <summary>The status of the shell's end, or null when it is not over in time.</summary>
    internal int? WaitForExit(int seconds)
    {
        for (var i = 0; i < seconds * 100; i++)
        {
            if (Libc.TryReap(_pidfd) is { } status)
            {
                return status;
            }
            Thread.Sleep(10);
        }
        return null;
    }

    public void Dispose()
    {
        if (_pidfd.IsClosed)
        {
            return;
        }
        foreach (var pid in _folders.Where(Directory.Exists).SelectMany(f => File.ReadAllLines(Path.Combine(f, "cgroup.procs"))))
        {
            Libc.Kill(int.Parse(pid, CultureInfo.InvariantCulture), Libc.SIGKILL);
        }
        Libc.SendSignal(_pidfd, Libc.SIGKILL);
        WaitForExit(5);
        foreach (var folder in _folders)
        {
            for (var i = 0; Directory.Exists(folder); i++)
            {
                try
                {
                    // rmdir: a cgroup's files are not deleted one by one.
                    Directory.Delete(folder);
                }
                catch (IOException) when (i < 100)
                {
                    Thread.Sleep(20);
                }
            }
        }
        _stdin.Dispose();
        _pidfd.Dispose();
    }
}
