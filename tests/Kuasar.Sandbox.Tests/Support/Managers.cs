using Kuasar.Domain;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Sandbox.Tests.Support;

internal static class Managers
{
    internal static SandboxManager Make(DomainPaths paths, Sandboxer sandboxer, HostProcesses processes, TimeProvider time)
    {
        var registry = new TaskRegistry();
        var leftovers = new Leftovers(paths, processes, registry, time, NullLogger.Instance);
        return new SandboxManager(
            paths, sandboxer, registry, new SandboxLeftovers(paths, registry, leftovers, NullLogger.Instance), time, NullLogger.Instance);
    }
}
