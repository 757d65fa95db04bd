using Kuasar.Sandbox.Tasks;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>What all sandboxes of a host share.</summary>
/// <param name="Sandboxer">The author's.</param>
/// <param name="Tasks">Where tasks are known.</param>
/// <param name="Time">The clock.</param>
/// <param name="Logger">Where it is told.</param>
/// <param name="Forget">Told when nothing of a sandbox is left.</param>
internal sealed record SandboxContext(Sandboxer Sandboxer, TaskRegistry Tasks, TimeProvider Time, ILogger Logger, Action<ManagedSandbox> Forget);
