namespace Kuasar.Vmm.ApiServers.Http;

/// <summary>A VMM's command line.</summary>
internal static class Arguments
{
    /// <summary>The value behind an option; null when it is not given.</summary>
    internal static string? Value(this string[] args, string option)
    {
        var at = Array.IndexOf(args, option);
        return at < 0 || at + 1 == args.Length ? null : args[at + 1];
    }

    /// <summary>The path in <c>path=P</c>.</summary>
    internal static string? Path(this string[] args, string option) =>
        args.Value(option) is { } value && value.StartsWith("path=", StringComparison.Ordinal) ? value[5..] : null;
}
