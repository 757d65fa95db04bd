using System.Globalization;
using System.Text;
using Kuasar.Domain;
using Kuasar.Linux;

namespace Kuasar.Sandbox;

/// <summary>What an operator's command says to the keeper of a run directory, by <c>RUN/keeper.sock</c>. Blocking; root or the keeper's user.</summary>
public static class KeeperClient
{
    private static readonly TimeSpan ConnectLimit = TimeSpan.FromSeconds(5), Margin = TimeSpan.FromSeconds(120);

    /// <summary>
    /// Puts another binary in the place of the sandboxer that runs and, if that serves within the deadline, of its keeper. Otherwise the old
    /// one goes on.
    /// </summary>
    /// <param name="runDirectory">The domain's.</param>
    /// <param name="binary">Absolute path; null: what is now at the path that runs.</param>
    /// <param name="deadline">How long the new sandboxer has to start, and again to serve.</param>
    /// <returns>What happened, to be read by a person: versions, and how long calls were held back.</returns>
    /// <exception cref="SandboxException">Unavailable: no keeper answers there. FailedPrecondition: the old one goes on; the message says why.</exception>
    public static string Upgrade(string runDirectory, string? binary, TimeSpan deadline)
    {
        ArgumentNullException.ThrowIfNull(runDirectory);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(deadline, TimeSpan.Zero);
        var answer = Ask(runDirectory, string.Create(CultureInfo.InvariantCulture, $"upgrade {(long)deadline.TotalMilliseconds} {binary}"), deadline + deadline + Margin);
        return answer.StartsWith("ok: ", StringComparison.Ordinal)
            ? answer["ok: ".Length..]
            : throw new SandboxException(SandboxError.FailedPrecondition, "the upgrade " + answer);
    }

    /// <summary>One line of NAME=value: the sandboxer's pid and version, and what the keeper holds.</summary>
    /// <exception cref="SandboxException">Unavailable: no keeper answers there.</exception>
    public static string Status(string runDirectory)
    {
        ArgumentNullException.ThrowIfNull(runDirectory);
        return Ask(runDirectory, "status", ConnectLimit);
    }

    private static string Ask(string runDirectory, string line, TimeSpan limit)
    {
        var socket = new DomainPaths(runDirectory).KeeperSocket;
        using var keeper = Libc.TryConnect(socket, ConnectLimit)
            ?? throw new SandboxException(SandboxError.Unavailable, $"no keeper answers on {socket}: {Libc.Error("connect").Message}");
        Libc.Send(keeper, Encoding.UTF8.GetBytes(line + "\n"), ConnectLimit);
        var answer = new StringBuilder();
        var buffer = new byte[1024];
        int count;
        while ((count = Libc.Receive(keeper, buffer, limit)) > 0)
        {
            answer.Append(Encoding.UTF8.GetString(buffer, 0, count));
        }
        return count == 0 && answer.Length > 0
            ? answer.ToString().TrimEnd('\n')
            : throw new SandboxException(SandboxError.Unavailable, "the keeper did not answer");
    }
}
