using Kuasar.Linux;

namespace Kuasar.Sandbox.Processes;

/// <summary>Small questions to /proc. A process may vanish at any moment: then the answer is the empty one.</summary>
internal static class Procfs
{
    internal static string[] Words(string path) =>
        Read(path).Split(default(char[]), StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The command line of a process, by its folder; empty for a zombie too.</summary>
    internal static string[] Arguments(string process) => Read(process + "/cmdline").Split('\0', StringSplitOptions.RemoveEmptyEntries);

    internal static bool IsZombie(int pid) => ProcessStat.TryRead(pid)?.State is 'Z' or 'X';

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            return "";
        }
        catch (UnauthorizedAccessException)
        {
            return "";
        }
    }
}
