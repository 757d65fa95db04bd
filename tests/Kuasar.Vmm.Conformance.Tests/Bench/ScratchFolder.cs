using System.Globalization;

namespace Kuasar.Vmm.Conformance.Tests.Bench;

/// <summary>A folder with a short path, as sockets need it; it also tells which processes are the test's.</summary>
internal sealed class ScratchFolder : IDisposable
{
    private static int s_last;

    internal ScratchFolder() => Directory.CreateDirectory(Root);

    internal string Root { get; } = $"/tmp/kvc-{Environment.ProcessId}-{Interlocked.Increment(ref s_last)}";

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
    internal IReadOnlyList<int> Processes()
    {
        var found = new List<int>();
        foreach (var folder in Directory.EnumerateDirectories("/proc"))
        {
            try
            {
                if (int.TryParse(System.IO.Path.GetFileName(folder), NumberStyles.None, CultureInfo.InvariantCulture, out var pid)
                    && System.IO.File.ReadAllText($"{folder}/cmdline").Contains(Root + "/", StringComparison.Ordinal))
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

    public void Dispose()
    {
        foreach (var pid in Processes())
        {
            try
            {
                System.Diagnostics.Process.GetProcessById(pid).Kill();
            }
            catch (Exception e) when (e is ArgumentException or InvalidOperationException)
            {
            }
        }
        Directory.Delete(Root, recursive: true);
    }
}
