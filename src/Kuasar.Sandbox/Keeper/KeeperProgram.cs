using Kuasar.Domain;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Keeper;

/// <summary>One program, three parts: the keeper, the sandboxer that it starts, and a look at whether a keeper could take another's place.</summary>
internal static class KeeperProgram
{
    /// <summary>Plays the part of the keeper, or takes the look, to the end; blocks. Null: this process is to be the sandboxer.</summary>
    /// <returns>The exit code.</returns>
    internal static int? TryRun(DomainPaths paths, ILoggerFactory loggers, CancellationToken cancellationToken)
    {
        if (KeeperEnvironment.Take(KeeperState.CheckVariable) is { } looked)
        {
            return KeeperProcess.CanRead(KeeperState.Load(looked)) ? 0 : 1;
        }
        if (KeeperSession.IsThere)
        {
            return null;
        }
        var state = KeeperEnvironment.Take(KeeperState.Variable) is { } fd ? KeeperState.Load(fd) : null;
        using var keeper = new KeeperProcess(paths, loggers.CreateLogger("Kuasar.Keeper"));
        return keeper.Run(state, cancellationToken);
    }
}
