namespace Kuasar.Sandbox.Control;

/// <summary>Paths that containerd names in its requests.</summary>
internal static class PlainPath
{
    /// <exception cref="SandboxException">InvalidArgument: it is not absolute, or has a <c>..</c> or a zero byte in it.</exception>
    internal static void Check(string what, string path)
    {
        if (!Path.IsPathRooted(path) || path.Split('/').Contains("..") || path.Contains('\0', StringComparison.Ordinal))
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the {what} is no absolute, plain path: \"{path}\"");
        }
    }
}
