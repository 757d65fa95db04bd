namespace Kuasar.Sandbox;

/// <summary>How a process ended, by the rule that containerd's clients know: its code, or 128 + the signal; 255 where nobody knows.</summary>
/// <param name="Code">0 to 255.</param>
/// <param name="ExitedAt">When it was seen to end.</param>
public readonly record struct ExitStatus(uint Code, DateTimeOffset ExitedAt)
{
    /// <summary>The code for an end that nobody saw.</summary>
    public const uint UnknownCode = 255;

    /// <summary>The code of a process that SIGKILL ended.</summary>
    public const uint KilledCode = 128 + 9;
}
