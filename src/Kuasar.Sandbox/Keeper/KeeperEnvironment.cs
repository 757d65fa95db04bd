using System.Collections;
using System.Text;

namespace Kuasar.Sandbox.Keeper;

/// <summary>What the keeper was started with and starts others with.</summary>
internal static class KeeperEnvironment
{
    /// <summary>The variables by which a keeper talks to what it starts, and a service manager to it; they go no further.</summary>
    private static readonly string[] Own = [SandboxerProcess.ChannelVariable, KeeperState.Variable, KeeperState.CheckVariable,
        ServiceManager.SocketVariable, ServiceManager.ProcessVariable, ServiceManager.CountVariable, ServiceManager.NamesVariable];

    /// <summary>The command line without the program: of <c>dotnet app.dll</c> the dll is a part.</summary>
    internal static string[] Arguments()
    {
        // Each ends with a 0, the last one too.
        var words = Encoding.UTF8.GetString(File.ReadAllBytes("/proc/self/cmdline")).Split('\0');
        return words[1..^1];
    }

    /// <summary>The environment as NAME=value, without <see cref="Own"/>.</summary>
    internal static string[] Variables()
    {
        var result = new List<string>();
        foreach (DictionaryEntry entry in Environment.GetEnvironmentVariables())
        {
            if (!Own.Contains(entry.Key))
            {
                result.Add($"{entry.Key}={entry.Value}");
            }
        }
        return [.. result];
    }

    /// <summary>Takes a variable of ours out of the environment, so that no child sees it.</summary>
    internal static string? Take(string name)
    {
        var value = Environment.GetEnvironmentVariable(name);
        Environment.SetEnvironmentVariable(name, null);
        return value;
    }
}
