using Kuasar.Domain;
using Kuasar.Sandbox.Events;
using Kuasar.Sandbox.Sandboxes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Tasks;

/// <summary>What the tasks of one containerd share.</summary>
internal sealed record TaskContext(
    string Instance,
    string ContainerdAddress,
    DomainPaths Paths,
    TaskEvents Events,
    StdioEnvironment Stdio,
    SandboxManager Sandboxes,
    TimeProvider Time,
    ILogger Logger);
