using System.Globalization;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// An executable, held open: what is started again after a crash is what ran before, whatever a package manager has put in its place.
/// </summary>
internal sealed class KeeperBinary : IDisposable
{
    // Above the fds that a child is given.
    private const int LowestFd = 64;

    private KeeperBinary(string path, SafeFileHandle file) => (Path, File) = (path, file);

    /// <summary>As it was named.</summary>
    internal string Path { get; }

    internal SafeFileHandle File { get; }

    /// <summary>What to give to execve or posix_spawn.</summary>
    internal string ExecutablePath => "/proc/self/fd/" + ((int)File.DangerousGetHandle()).ToString(CultureInfo.InvariantCulture);

    /// <exception cref="LinuxException">It cannot be opened.</exception>
    internal static KeeperBinary Open(string path, string? name = null)
    {
        using var file = Libc.Open(path, Libc.O_PATH);
        return new KeeperBinary(name ?? path, Libc.Duplicate(file, LowestFd));
    }

    /// <summary>One whose fd came through an execve.</summary>
    internal static KeeperBinary Adopt(string path, SafeFileHandle file) => new(path, file);

    /// <summary>What this process runs.</summary>
    internal static KeeperBinary OfThisProcess() => Open("/proc/self/exe", Environment.ProcessPath);

    public void Dispose() => File.Dispose();
}
