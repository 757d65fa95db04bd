namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>The two processes of a sandboxer with a keeper.</summary>
internal static class KeptSandboxer
{
    extension(SandboxerProcess sandboxer)
    {
        /// <summary>The one behind the keeper; null while there is none.</summary>
        internal int? TryFindKept() => Proc.Pids()
            .Where(pid => Proc.Parent(pid) == sandboxer.ProcessId && Proc.Program(pid) == Proc.Program(sandboxer.ProcessId))
            .Cast<int?>().FirstOrDefault();

        /// <inheritdoc cref="TryFindKept"/>
        internal int KeptProcessId => sandboxer.TryFindKept() ?? throw new InvalidOperationException("the keeper has no sandboxer");

        /// <summary>What serves: the keeper's child, where there is one.</summary>
        internal int ServingProcessId => sandboxer.TryFindKept() ?? sandboxer.ProcessId;
    }
}
