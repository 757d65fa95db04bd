namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>What serves a node.</summary>
public sealed record SandboxerPlan
{
    /// <summary>In place of kuasar-runc-sandboxer.</summary>
    public string? Program { get; init; }

    /// <summary>Whether it also serves containerd's proxy plugin, by gRPC.</summary>
    public bool HasProxy { get; init; } = true;

    /// <summary>Whether a keeper stands before it, as it does by default.</summary>
    public bool HasKeeper { get; init; } = true;

    public string LogLevel { get; init; } = "debug";
}
