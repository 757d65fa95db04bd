using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Mounts;

/// <summary>
/// mount(2) copies one page of data, which some fifty layers of a snapshotter fill. containerd changes into the layers' common
/// folder for the call; the working directory is the whole process's here, so the folder is held open and named by its fd:
/// <c>/proc/self/fd/42/17/fs</c>.
/// </summary>
internal static class OverlayLowerDirs
{
    private const string Prefix = "lowerdir=";

    /// <summary>
    /// Replaces the lowerdir option by a shorter one. Returns the open folder that it goes through, to be kept until the mount is
    /// made, or null when there is nothing to gain.
    /// </summary>
    internal static SafeFileHandle? Shorten(List<string> data)
    {
        var index = data.FindIndex(option => option.StartsWith(Prefix, StringComparison.Ordinal));
        if (index < 0)
        {
            return null;
        }
        var folders = Split(data[index][Prefix.Length..]);
        var parent = CommonParent(folders);
        if (parent.Length <= "/".Length)
        {
            return null;
        }
        var handle = Libc.Open(parent, Libc.O_PATH | Libc.O_DIRECTORY);
        var shorter = $"/proc/self/fd/{(int)handle.DangerousGetHandle()}/";
        if (shorter.Length >= parent.Length)
        {
            handle.Dispose();
            return null;
        }
        // An empty one is half of "::", the mark of data-only layers.
        data[index] = Prefix + string.Join(':', folders.Select(folder => folder.Length == 0 ? folder : shorter + folder[parent.Length..]));
        return handle;
    }

    /// <summary>The longest folder, with its slash, that all lie below; empty when there is none.</summary>
    internal static string CommonParent(IReadOnlyList<string> folders)
    {
        string? common = null;
        foreach (var folder in folders)
        {
            if (folder.Length > 0)
            {
                common = common is null ? folder : common[..common.AsSpan().CommonPrefixLength(folder)];
            }
        }
        // An escaped colon or backslash belongs to the option's syntax and not to the path: the folder ends before it.
        var escape = common?.IndexOf('\\') ?? -1;
        common = escape < 0 ? common : common![..escape];
        return common is null || !common.StartsWith('/') ? "" : common[..(common.LastIndexOf('/') + 1)];
    }

    /// <summary>Cuts at the colons that have no backslash before them.</summary>
    private static List<string> Split(string folders)
    {
        var result = new List<string>();
        var start = 0;
        for (var i = 0; i < folders.Length; i++)
        {
            if (folders[i] == '\\')
            {
                i++;
            }
            else if (folders[i] == ':')
            {
                result.Add(folders[start..i]);
                start = i + 1;
            }
        }
        result.Add(folders[start..]);
        return result;
    }
}
