using Kuasar.Protocol.Fuzz.Engine;
using Kuasar.Protocol.Fuzz.Targets;

namespace Kuasar.Protocol.Fuzz;

/// <summary>All that is fuzzed.</summary>
internal static class FuzzTargets
{
    internal static IReadOnlyList<FuzzTarget> All { get; } = [new EnvelopeTarget(), new FrameTarget(), new ServerTarget(), new ClientTarget()];

    internal static FuzzTarget Find(string name) =>
        All.FirstOrDefault(target => target.Name == name)
        ?? throw new ArgumentException($"no target '{name}': {string.Join(", ", All.Select(target => target.Name))}");
}
