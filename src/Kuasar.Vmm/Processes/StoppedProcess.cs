using System.Globalization;

namespace Kuasar.Vmm.Processes;

/// <summary>A process that SIGSTOP has stopped.</summary>
internal static class StoppedProcess
{
    /// <summary>Whether none of its threads runs until SIGCONT; false when it is gone.</summary>
    internal static bool Is(int processId)
    {
        try
        {
            var threads = Directory.GetDirectories($"/proc/{processId.ToString(CultureInfo.InvariantCulture)}/task");
            return threads.Length > 0 && Array.TrueForAll(threads, static thread => StateOf(thread) == 'T');
        }
        catch (IOException)
        {
            return false;
        }
    }

    // Field 3, after the last ')' since a command may hold anything.
    private static char StateOf(string thread)
    {
        var stat = File.ReadAllText(thread + "/stat");
        return stat[stat.LastIndexOf(')') + 2];
    }
}
