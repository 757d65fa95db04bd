using System.Globalization;
using System.Text;

namespace Kuasar.Linux;

/// <summary>Ends whatever runs in a cgroup and below it, in either version of cgroups.</summary>
internal static class CgroupProcesses
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(5);

    /// <summary>True when the folder is gone or empty of processes, false when some live at the deadline.</summary>
    /// <exception cref="InvalidDataException">The folder is no task's own: it holds this process or init.</exception>
    internal static bool Kill(string folder, Deadline deadline)
    {
        while (true)
        {
            var pids = new List<int>();
            var folders = new List<string>();
            Collect(folder, pids, folders);
            if (pids.Count == 0)
            {
                return true;
            }
            if (pids.Contains(Environment.ProcessId) || pids.Contains(1))
            {
                throw new InvalidDataException($"cgroup {folder} is not a task's own, it is left alone");
            }
            // cgroup.kill (v2, Linux 5.14) takes the whole tree at once, forks included. Else as long as forks outrun the loop.
            if (!TryWrite(Path.Combine(folder, "cgroup.kill"), "1"))
            {
                foreach (var pid in pids)
                {
                    Libc.Kill(pid, Libc.SIGKILL);
                }
                // In a frozen v1 cgroup the signal waits; thawed after it was sent, nothing runs again.
                foreach (var each in folders)
                {
                    TryWrite(Path.Combine(each, "freezer.state"), "THAWED");
                }
            }
            if (deadline.IsOver)
            {
                return false;
            }
            Thread.Sleep(Pause);
        }
    }

    /// <summary>As <see cref="Kill"/>, for whom it is an error that some live on.</summary>
    /// <exception cref="IOException">Some live at the deadline.</exception>
    internal static void End(string folder, Deadline deadline)
    {
        if (!Kill(folder, deadline))
        {
            throw new IOException($"processes of cgroup {folder} outlive SIGKILL");
        }
    }

    /// <summary>Removes the cgroup and those below it, once nothing runs in them.</summary>
    /// <exception cref="IOException">One is still busy at the deadline.</exception>
    internal static void Remove(string folder, Deadline deadline)
    {
        if (!Directory.Exists(folder))
        {
            return;
        }
        foreach (var child in Directory.GetDirectories(folder))
        {
            Remove(child, deadline);
        }
        // What has been killed is counted until it is reaped.
        while (!Libc.TryRemoveFolder(folder))
        {
            if (Libc.LastError is not Libc.EBUSY || deadline.IsOver)
            {
                throw new LinuxException($"rmdir {folder}", Libc.LastError);
            }
            Thread.Sleep(Pause);
        }
    }

    private static void Collect(string folder, List<int> pids, List<string> folders)
    {
        byte[]? text;
        try
        {
            text = Libc.ReadFile(Path.Combine(folder, "cgroup.procs"), 16 << 20);
        }
        catch (LinuxException e) when (e.Errno is ENODEV or EOPNOTSUPP)
        {
            // Removed while it was read; or a threaded v2 cgroup, whose processes the one above lists.
            text = [];
        }
        if (text is null)
        {
            return;
        }
        folders.Add(folder);
        foreach (var line in Encoding.ASCII.GetString(text).Split('\n'))
        {
            // 0 is a process of a pid namespace that we do not see; kill(0) would be our own group.
            if (int.TryParse(line, CultureInfo.InvariantCulture, out var pid) && pid > 0)
            {
                pids.Add(pid);
            }
        }
        try
        {
            foreach (var child in Directory.GetDirectories(folder))
            {
                Collect(child, pids, folders);
            }
        }
        catch (DirectoryNotFoundException)
        {
        }
    }

    private const int ENODEV = 19, EOPNOTSUPP = 95;

    private static bool TryWrite(string path, string value)
    {
        try
        {
            using var file = Libc.Open(path, Libc.O_WRONLY);
            return Libc.Write(file, Encoding.ASCII.GetBytes(value)) > 0;
        }
        catch (LinuxException)
        {
            return false;
        }
    }
}
