using System.Globalization;
using Kuasar.Linux;

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
            return threads.Length > 0 && Array.TrueForAll(threads, static thread => ProcessStat.TryRead(thread)?.State == 'T');
        }
        catch (IOException)
        {
            return false;
        }
    }
}
