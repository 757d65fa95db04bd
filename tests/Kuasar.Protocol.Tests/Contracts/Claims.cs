namespace Kuasar.Protocol.Tests.Contracts;

/// <summary>What we claim to agree with, and where we knowingly do not.</summary>
internal static class Claims
{
    /// <summary>Every message, enum and service of these packages is compared.</summary>
    internal static readonly string[] Whole =
    [
        "containerd.task.v2",
        "containerd.task.v3",
        "containerd.v1.types",
        "containerd.types",
        "containerd.types.transfer",
        "containerd.runtime.sandbox.v1",
        "containerd.runtime.bootstrap.v1",
        "containerd.services.sandbox.v1",
        "containerd.services.events.ttrpc.v1",
        "containerd.services.events.v1",
        "containerd.services.streaming.v1",
        "containerd.services.tasks.v1",
        "containerd.services.version.v1",
        "containerd.events",
        "containerd.runc.v1",
        "runtimeoptions.v1",
        "io.containerd.cgroups.v1",
        "io.containerd.cgroups.v2",
    ];

    /// <summary>
    /// Spoken in part, by tests and the demo or (runtime.v1) as options. What we have is compared in full; messages and methods
    /// that we lack are no difference. A field's type cannot be lacking: it would not compile.
    /// </summary>
    internal static readonly string[] Parts =
    [
        "containerd.services.containers.v1",
        "containerd.services.images.v1",
        "containerd.services.introspection.v1",
        "containerd.services.snapshots.v1",
        "runtime.v1",
    ];

    /// <summary>Packages among our contracts that are not compared here: our own, and the ttrpc envelope.</summary>
    internal static readonly string[] Elsewhere = ["kuasar.control.v1", "ttrpc", "google.rpc"];

    /// <summary>C# classes have a Descriptor property, so no message can have that name.</summary>
    internal static readonly Dictionary<string, string> Renamed = new()
    {
        ["containerd.types.Descriptor"] = "containerd.types.ContentDescriptor",
    };

    /// <summary>Differences that are meant, with their reason. One that does not occur any more fails the test.</summary>
    internal static readonly (string Package, string Reason, string[] Differences)[] Allowed =
    [
        ("containerd.types", "since containerd 2.2",
        [
            "extra containerd.types.ActivationInfo",
            "extra containerd.types.ActiveMount",
        ]),
        ("containerd.types", "since containerd 2.3",
        [
            "extra containerd.types.Platform.os_features",
        ]),
        ("containerd.services.streaming.v1", "ours, between a sandboxer and its guests' agent: who has output already says how much",
        [
            "extra containerd.services.streaming.v1.StreamInit.position",
        ]),
        ("containerd.types.transfer", "of the transfer service, which no shim or sandboxer meets",
        [
            "missing containerd.types.transfer.AuthRequest",
            "missing containerd.types.transfer.AuthResponse",
            "missing containerd.types.transfer.AuthType",
            "missing containerd.types.transfer.HTTPDebug",
            "missing containerd.types.transfer.ImageExportStream",
            "missing containerd.types.transfer.ImageImportStream",
            "missing containerd.types.transfer.ImageReference",
            "missing containerd.types.transfer.ImageStore",
            "missing containerd.types.transfer.OCIRegistry",
            "missing containerd.types.transfer.Progress",
            "missing containerd.types.transfer.RegistryResolver",
            "missing containerd.types.transfer.UnpackConfiguration",
        ]),
        ("containerd.runtime.sandbox.v1", "since containerd 2.3",
        [
            "extra containerd.runtime.sandbox.v1.StartSandboxResponse.spec",
        ]),
        ("containerd.runtime.bootstrap.v1", "since containerd 2.3",
        [
            "missing upstream: the whole package",
        ]),
        ("containerd.services.sandbox.v1", "since containerd 2.3",
        [
            "extra containerd.services.sandbox.v1.ControllerStartResponse.spec",
        ]),
        ("containerd.services.tasks.v1", "since containerd 2.3.1",
        [
            "extra containerd.services.tasks.v1.CreateTaskRequest.task_api_address",
            "extra containerd.services.tasks.v1.CreateTaskRequest.task_api_version",
        ]),
        ("containerd.events", "of other parts of containerd; a shim neither publishes nor reads them",
        [
            "missing containerd.events.ContainerCreate",
            "missing containerd.events.ContainerDelete",
            "missing containerd.events.ContainerUpdate",
            "missing containerd.events.ContentCreate",
            "missing containerd.events.ContentDelete",
            "missing containerd.events.NamespaceCreate",
            "missing containerd.events.NamespaceDelete",
            "missing containerd.events.NamespaceUpdate",
            "missing containerd.events.SnapshotCommit",
            "missing containerd.events.SnapshotPrepare",
            "missing containerd.events.SnapshotRemove",
        ]),
        ("containerd.runc.v1", "since containerd 2.4.0-beta.0",
        [
            "extra containerd.runc.v1.CheckpointOptions.parent_path",
        ]),
        ("io.containerd.cgroups.v2", "since cgroups 3.1 and later",
        [
            "extra io.containerd.cgroups.v2.CPUStat.burst_usec",
            "extra io.containerd.cgroups.v2.CPUStat.nr_bursts",
            "extra io.containerd.cgroups.v2.HugeTlbStat.failcnt",
            "extra io.containerd.cgroups.v2.MemoryEvents.oom_group_kill",
            "extra io.containerd.cgroups.v2.MemoryStat.workingset_refault_anon",
            "extra io.containerd.cgroups.v2.MemoryStat.workingset_refault_file",
            "extra io.containerd.cgroups.v2.MemoryStat.workingset_activate_anon",
            "extra io.containerd.cgroups.v2.MemoryStat.workingset_activate_file",
            "extra io.containerd.cgroups.v2.Metrics.network",
            "extra io.containerd.cgroups.v2.NetworkStat",
        ]),
        ("containerd.services.introspection.v1", "a google.rpc.Status, which tests do not read",
        [
            "missing containerd.services.introspection.v1.Plugin.init_err",
        ]),
    ];
}
