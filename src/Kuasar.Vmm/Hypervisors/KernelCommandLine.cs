namespace Kuasar.Vmm.Hypervisors;

/// <summary>A kernel's command line with what a machine cannot do without.</summary>
internal static class KernelCommandLine
{
    /// <summary>Adds options, as <c>panic=-1</c>, unless the line has the option already, whatever its value.</summary>
    internal static string With(string line, params ReadOnlySpan<string> options)
    {
        var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var all = new List<string>();
        foreach (var option in options)
        {
            var name = option[..(option.IndexOf('=', StringComparison.Ordinal) + 1)];
            if (!Array.Exists(words, word => word.StartsWith(name, StringComparison.Ordinal)))
            {
                all.Add(option);
            }
        }
        // In front: what stands behind -- is the first process's.
        return string.Join(' ', [.. all, line]).TrimEnd();
    }
}
