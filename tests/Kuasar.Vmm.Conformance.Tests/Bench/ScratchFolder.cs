using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>
/// A folder with a short path, as sockets need it; it also tells which processes are the test's. Nothing of it outlives the test: what a failed one
/// has left ends with it, with a test program that is told to end, or with the next one to be run after one that was killed.
/// </summary>
internal sealed class ScratchFolder : IDisposable
{
    private const string Parent = "/tmp", Prefix = "kvc-";

    private static readonly ConcurrentDictionary<ScratchFolder, bool> s_all = [];
    private static readonly PosixSignalRegistration s_termination;
    private static int s_last;

    static ScratchFolder()
    {
        foreach (var folder in Directory.EnumerateDirectories(Parent, Prefix + "*").Where(IsStale))
        {
            Remove(folder);
        }
        // As timeout(1) sends it.
        s_termination = PosixSignalRegistration.Create(PosixSignal.SIGTERM, static _ =>
        {
            foreach (var folder in s_all.Keys)
            {
                folder.Dispose();
            }
        });
    }

    internal ScratchFolder()
    {
        Directory.CreateDirectory(Root, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        s_all.TryAdd(this, true);
    }

    internal string Root { get; } = $"{Parent}/{Prefix}{Environment.ProcessId}-{Interlocked.Increment(ref s_last)}";

    internal string Path(string name) => System.IO.Path.Combine(Root, name);

    /// <summary>Makes a file.</summary>
    internal string File(string name, int length = 4096)
    {
        System.IO.File.WriteAllBytes(Path(name), new byte[length]);
        return Path(name);
    }

    /// <summary>Makes a folder.</summary>
    internal string Folder(string name) => Directory.CreateDirectory(Path(name)).FullName;

    /// <summary>The processes whose command lines have this folder's path.</summary>
    internal IReadOnlyList<int> Processes() => ProcessesOf(Root);

    public void Dispose()
    {
        if (s_all.TryRemove(this, out _))
        {
            Remove(Root);
        }
    }

    private static bool IsStale(string folder) =>
        int.TryParse(System.IO.Path.GetFileName(folder)[Prefix.Length..].Split('-')[0], NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
        && (pid == Environment.ProcessId || !Directory.Exists($"/proc/{pid}"));

    private static void Remove(string folder)
    {
        foreach (var pid in ProcessesOf(folder))
        {
            try
            {
                using var process = Process.GetProcessById(pid);
                process.Kill();
            }
            catch (Exception e) when (e is ArgumentException or InvalidOperationException)
            {
                // It has ended meanwhile.
            }
        }
        Directory.Delete(folder, recursive: true);
    }

    private static List<int> ProcessesOf(string root)
    {
        var found = new List<int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            try
            {
                if (int.TryParse(System.IO.Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                    && System.IO.File.ReadAllText($"{folder}/cmdline").Contains(root + "/", StringComparison.Ordinal))
                {
                    found.Add(pid);
                }
            }
            catch (IOException)
            {
                // It has ended meanwhile.
            }
        }
        return found;
    }
}
