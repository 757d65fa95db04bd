using Kuasar.Linux;

namespace Kuasar.Shim.Hosting;

/// <summary>What a shim is called and where its sandboxer is.</summary>
/// <remarks>
/// A file <c>BINARY.conf</c> beside the shim's binary comes before these: <c>run-dir=</c>, <c>sandboxer=</c> and
/// <c>sandboxer-args=</c>, one a line. containerd gives <c>delete</c> and <c>-info</c> no environment to configure them by.
/// </remarks>
public sealed class ShimOptions
{
    /// <summary>The runtime type that containerd knows, such as <c>io.containerd.kuasar-runc.v1</c>.</summary>
    public required string Name { get; init; }

    /// <summary>What <c>-v</c> prints after the name.</summary>
    public required string Version { get; init; }

    /// <summary>The domain that serves this shim's tasks, such as <c>runc</c>.</summary>
    public required string Sandboxer { get; init; }

    /// <summary>The domain's folder; <c>/run/kuasar/SANDBOXER</c> when null.</summary>
    public string? RunDirectory { get; init; }

    /// <summary>The program to start when no sandboxer runs; null: none, someone else keeps it running.</summary>
    public string? SandboxerPath { get; init; }

    /// <summary>Arguments of <see cref="SandboxerPath"/>.</summary>
    public IReadOnlyList<string> SandboxerArguments { get; init; } = [];

    /// <summary>How long <c>start</c> and <c>-info</c> wait for an answer.</summary>
    public TimeSpan AnswerTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a sandboxer that has just been started may take until it accepts.</summary>
    public TimeSpan SandboxerStartTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long <c>delete</c> waits for the sandboxer before it ends the task by itself.</summary>
    public TimeSpan RemoveTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>How long <c>delete</c> then waits for the processes to end.</summary>
    public TimeSpan KillTimeout { get; init; } = TimeSpan.FromSeconds(1.5);

    // containerd kills `delete` after 5 s (io.containerd.timeout.shim.cleanup).
    private static readonly TimeSpan DeleteLimit = TimeSpan.FromSeconds(4.5);

    /// <summary><c>kuasar-runc</c> of <c>io.containerd.kuasar-runc.v1</c>.</summary>
    internal string ShortName
    {
        get
        {
            var end = Name.LastIndexOf('.');
            return Name[(Name.LastIndexOf('.', end - 1) + 1)..end];
        }
    }

    internal void Validate()
    {
        var dot = Name?.LastIndexOf('.') ?? -1;
        Require(dot > 0 && dot < Name!.Length - 1 && Name[dot - 1] != '.', nameof(Name), "is not of the form io.containerd.NAME.VERSION");
        Require(ContainerdId.IsValid(Sandboxer), nameof(Sandboxer), "is not an identifier");
        Require(Version is not null, nameof(Version), "is null");
        Require(RunDirectory is null || Path.IsPathRooted(RunDirectory), nameof(RunDirectory), "is not absolute");
        Require(SandboxerPath is null || Path.IsPathRooted(SandboxerPath), nameof(SandboxerPath), "is not absolute");
        Require(SandboxerArguments is not null, nameof(SandboxerArguments), "is null");
        Require(AnswerTimeout > TimeSpan.Zero, nameof(AnswerTimeout), "is not positive");
        Require(SandboxerStartTimeout > TimeSpan.Zero, nameof(SandboxerStartTimeout), "is not positive");
        Require(RemoveTimeout > TimeSpan.Zero, nameof(RemoveTimeout), "is not positive");
        Require(KillTimeout > TimeSpan.Zero, nameof(KillTimeout), "is not positive");
        Require(RemoveTimeout + KillTimeout <= DeleteLimit, nameof(RemoveTimeout), "with KillTimeout is over 4.5 s; containerd kills delete after 5 s");
    }

    private static void Require(bool condition, string property, string problem)
    {
        if (!condition)
        {
            throw new ArgumentException($"ShimOptions.{property} {problem}");
        }
    }
}
