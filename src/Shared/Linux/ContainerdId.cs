namespace Kuasar.Linux;

/// <summary>
/// containerd's identifier rule (pkg/identifiers): 1 to 76 characters; letters and digits in runs that are joined by single
/// <c>.</c>, <c>_</c> or <c>-</c>. Whatever passes is a safe file name: it cannot be empty, begin with a dot or hold a slash.
/// </summary>
internal static class ContainerdId
{
    internal const int MaxLength = 76;

    internal static bool IsValid(ReadOnlySpan<char> id)
    {
        if (id.IsEmpty || id.Length > MaxLength || !char.IsAsciiLetterOrDigit(id[^1]))
        {
            return false;
        }
        var inRun = false;
        foreach (var c in id)
        {
            var letter = char.IsAsciiLetterOrDigit(c);
            if (!letter && !(inRun && c is '.' or '_' or '-'))
            {
                return false;
            }
            inRun = letter;
        }
        return true;
    }
}
