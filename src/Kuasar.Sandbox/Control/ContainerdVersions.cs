using System.Collections.Concurrent;
using System.Text;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Control;

/// <summary>
/// Which Task service a containerd takes: 1.x only version 2, 2.x version 3. Nothing in what a shim is told says so before 2.3
/// (MAX_SHIM_VERSION is "2" in every release), so the executable is asked, once for each build of it.
/// </summary>
internal sealed class ContainerdVersions(HostProcesses processes, TimeProvider time)
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<(string Path, DateTime Written, long Length), Lazy<Task<uint>>> _known = new();

    internal Task<uint> GetTaskVersionAsync(ContainerdInstance containerd)
    {
        if (containerd.Version.Length > 0)
        {
            return Task.FromResult(TaskVersion(containerd.Version));
        }
        return containerd.Binary.Length == 0 || new FileInfo(containerd.Binary) is not { Exists: true } file
            ? Task.FromResult(3u)
            : _known.GetOrAdd((file.FullName, file.LastWriteTimeUtc, file.Length), key => new(() => AskAsync(key.Path))).Value;
    }

    private async Task<uint> AskAsync(string binary)
    {
        var (read, write) = Libc.Pipe();
        using var output = new FileStream(read, FileAccess.Read, bufferSize: 0);
        using var process = Start(binary, write);
        if (process is null || !await process.Exited.EndsWithinAsync(Limit, time).ConfigureAwait(false))
        {
            process?.Signal(Libc.SIGKILL);
            // Not for good: the machine may have been busy.
            foreach (var key in _known.Keys.Where(key => key.Path == binary))
            {
                _known.TryRemove(key, out _);
            }
            return 3;
        }
        var buffer = new byte[512];
        var count = await output.ReadAsync(buffer).ConfigureAwait(false);
        return TaskVersion(Encoding.UTF8.GetString(buffer, 0, count));
    }

    private HostProcess? Start(string binary, SafeFileHandle write)
    {
        using (write)
        {
            try
            {
                return processes.Start(binary, ["--version"], stdout: write);
            }
            catch (SandboxException)
            {
                return null;
            }
        }
    }

    /// <summary>From a bare version, or from a line like "containerd github.com/containerd/containerd/v2 2.1.9 …".</summary>
    internal static uint TaskVersion(string text)
    {
        foreach (var word in text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            var digits = word.TrimStart('v');
            if (digits.Length > 2 && char.IsAsciiDigit(digits[0]) && digits.Contains('.', StringComparison.Ordinal))
            {
                return digits.StartsWith("1.", StringComparison.Ordinal) ? 2u : 3u;
            }
        }
        return 3;
    }
}
