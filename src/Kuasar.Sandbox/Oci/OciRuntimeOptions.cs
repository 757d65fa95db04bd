namespace Kuasar.Sandbox;

/// <summary>How an OCI runtime (runc, crun) is called.</summary>
public sealed record OciRuntimeOptions
{
    /// <summary>The binary: an absolute path, or a name that is looked for on PATH.</summary>
    public required string Path { get; init; }

    /// <summary>The runtime's own state folder (<c>--root</c>), absolute; one for each set of unique container ids.</summary>
    public required string Root { get; init; }

    /// <summary>Whether systemd manages cgroups (<c>--systemd-cgroup</c>).</summary>
    public bool SystemdCgroup { get; init; }

    /// <summary>Do not use pivot_root (<c>--no-pivot</c>).</summary>
    public bool NoPivotRoot { get; init; }

    /// <summary>Make no session keyring for the container (<c>--no-new-keyring</c>).</summary>
    public bool NoNewKeyring { get; init; }

    /// <summary>One command that takes longer is killed and fails with DeadlineExceeded.</summary>
    public TimeSpan CommandTimeout { get; init; } = TimeSpan.FromMinutes(2);
}
