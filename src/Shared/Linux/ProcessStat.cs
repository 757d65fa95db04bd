using System.Globalization;

namespace Kuasar.Linux;

/// <summary>What a stat file of /proc says of a process or thread, by the field numbers of proc_pid_stat(5): from 3, the state, to 52, the exit status.</summary>
internal sealed class ProcessStat
{
    private const int First = 3;

    private readonly string[] _fields;

    private ProcessStat(string[] fields) => _fields = fields;

    /// <summary>A letter, for example Z of a zombie and T of a stopped one.</summary>
    internal char State => _fields[0][0];

    internal string this[int field] => _fields[field - First];

    internal static ProcessStat? TryRead(int pid) => TryRead($"/proc/{pid.ToString(CultureInfo.InvariantCulture)}");

    /// <summary>Null when it is gone, or not to be seen.</summary>
    /// <param name="folder">A process's, or a thread's.</param>
    internal static ProcessStat? TryRead(string folder)
    {
        try
        {
            // After the last ')', since a command may hold anything.
            var text = File.ReadAllText(folder + "/stat");
            var fields = text[(text.LastIndexOf(')') + 1)..].Split(default(char[]), StringSplitOptions.RemoveEmptyEntries);
            return fields.Length > 0 ? new ProcessStat(fields) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
