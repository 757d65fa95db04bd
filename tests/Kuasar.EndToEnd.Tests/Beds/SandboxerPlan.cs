namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>What serves a node.</summary>
public sealed record SandboxerPlan
{
    /// <summary>Which of the examples: kuasar-KIND-sandboxer and containerd-shim-kuasar-KIND-v1.</summary>
    public string Kind { get; init; } = "runc";

    /// <summary>In place of the example's.</summary>
    public string? Program { get; init; }

    /// <summary>What this kind is told besides; null for where runc is.</summary>
    public IReadOnlyList<string>? Arguments { get; init; }

    /// <summary>Whether it also serves containerd's proxy plugin, by gRPC.</summary>
    public bool HasProxy { get; init; } = true;

    /// <summary>Whether a keeper stands before it, as it does by default.</summary>
    public bool HasKeeper { get; init; } = true;

    public string LogLevel { get; init; } = "debug";
}
