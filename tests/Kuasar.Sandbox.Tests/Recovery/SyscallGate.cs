using System.Globalization;
using System.Runtime.InteropServices;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>
/// The other side of <see cref="CrashingSandboxer.SyscallFilter"/>: lets each system call pass, but for the one before which it kills the
/// process with SIGKILL. What that has started goes on, as after any death.
/// </summary>
internal sealed unsafe partial class SyscallGate : IDisposable
{
    private const nuint Receive = 0xC0502100, Send = 0xC0182101; // SECCOMP_IOCTL_NOTIF_RECV, _SEND

    private readonly int _process;
    private readonly SafeFileHandle _listener;
    private readonly Thread _thread;
    private volatile int _killAt;
    private volatile bool _stopping;
    private int _count;

    /// <param name="process">Whose filter it is.</param>
    /// <param name="listener">The filter's fd there.</param>
    internal SyscallGate(int process, int listener)
    {
        _process = process;
        const nint SYS_pidfd_getfd = 438;
        using var pidfd = Libc.OpenProcess(process) ?? throw Libc.Error("pidfd_open");
        var fd = syscall(SYS_pidfd_getfd, pidfd.DangerousGetHandle(), listener, 0);
        _listener = new SafeFileHandle((nint)Libc.Check(fd, "pidfd_getfd"), ownsHandle: true);
        _thread = new Thread(Run) { IsBackground = true };
        _thread.Start();
    }

    /// <summary>What was about to be done when it was killed; null when it was not.</summary>
    internal string? KilledBefore { get; private set; }

    /// <summary>From now on counts, and kills before this one, the first being 1.</summary>
    internal void KillAt(int number) => _killAt = number;

    private void Run()
    {
        // struct seccomp_notif { u64 id; u32 pid, flags; struct { int nr; u32 arch; u64 ip, args[6]; } data; }: 80 bytes.
        // struct seccomp_notif_resp { u64 id; s64 val; s32 error; u32 flags; }: 24 bytes.
        var request = stackalloc byte[80];
        var answer = stackalloc byte[24];
        while (!_stopping)
        {
            if (!Libc.WaitReadable(_listener, TimeSpan.FromMilliseconds(20)))
            {
                continue;
            }
            new Span<byte>(request, 80).Clear();
            if (ioctl(_listener, Receive, request) != 0)
            {
                // Its caller has been killed meanwhile; or nobody has the filter any more.
                Thread.Sleep(1);
                continue;
            }
            if (_killAt > 0 && KilledBefore is null && ++_count == _killAt)
            {
                var (caller, number) = (*(int*)(request + 8), *(int*)(request + 16));
                var own = Directory.Exists(string.Create(CultureInfo.InvariantCulture, $"/proc/{_process}/task/{caller}"));
                Libc.Kill(_process, Libc.SIGKILL);
                KilledBefore = $"{NameOf(number)} of {(own ? "its own" : "what it has started")}";
                if (own)
                {
                    continue;
                }
            }
            new Span<byte>(answer, 24).Clear();
            *(ulong*)answer = *(ulong*)request;
            *(uint*)(answer + 20) = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE
            _ = ioctl(_listener, Send, answer);
        }
    }

    private static string NameOf(int number) => number switch
    {
        82 or 264 or 316 => "rename",
        83 or 258 => "mkdir",
        84 => "rmdir",
        87 or 263 => "unlink",
        165 => "mount",
        166 => "umount",
        62 or 424 => "kill",
        _ => "execve",
    };

    /// <summary>Whoever still has the filter fails with ENOSYS from here on.</summary>
    public void Dispose()
    {
        _stopping = true;
        _thread.Join();
        _listener.Dispose();
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(SafeFileHandle handle, nuint request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint a, nint b, nint c);
}
