using System.Net.Sockets;
using System.Runtime.InteropServices;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>A unix socket of our own on which an OCI runtime sends one pty master (SCM_RIGHTS), for one process.</summary>
internal sealed partial class ConsoleSocket : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30), AfterEnd = TimeSpan.FromSeconds(1);
    private static long s_last;

    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    private ConsoleSocket(string path) => Path = path;

    internal string Path { get; }

    internal static ConsoleSocket Listen(string directory)
    {
        Libc.CreateFolders(directory, DomainPaths.FolderMode);
        var socket = new ConsoleSocket(System.IO.Path.Combine(directory, $"{Environment.ProcessId}-{Interlocked.Increment(ref s_last)}.sock"));
        File.Delete(socket.Path);
        socket._listener.Bind(new UnixDomainSocketEndPoint(socket.Path));
        socket._listener.Listen(1);
        return socket;
    }

    /// <summary>Removes those that an earlier life has left; nobody listens on them.</summary>
    internal static void RemoveAll(string directory)
    {
        foreach (var path in Directory.Exists(directory) ? Directory.GetFiles(directory) : [])
        {
            Libc.TryRemoveFile(path);
        }
    }

    /// <summary>The terminal. The caller owns it.</summary>
    /// <param name="ended">The process: once it has ended, what was not sent yet will hardly come.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="SandboxException">DeadlineExceeded: no terminal came.</exception>
    internal async Task<SafeFileHandle> ReceiveAsync(Task ended, TimeProvider time, CancellationToken cancellationToken)
    {
        using var limit = new CancellationTokenSource(Limit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        var received = ReceiveAsync(either.Token);
        if (await Task.WhenAny(received, ended).ConfigureAwait(false) == ended && !await received.EndsWithinAsync(AfterEnd, time).ConfigureAwait(false))
        {
            await either.CancelAsync().ConfigureAwait(false);
        }
        try
        {
            return await received.ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new SandboxException(
                SandboxError.DeadlineExceeded, ended.IsCompleted ? "the process ended and sent no terminal" : $"no terminal was sent within {Limit}");
        }
    }

    private async Task<SafeFileHandle> ReceiveAsync(CancellationToken cancellationToken)
    {
        using var peer = await _listener.AcceptAsync(cancellationToken).ConfigureAwait(false);
        // Zero bytes: only until there is something; recvmsg below takes bytes and fd together.
        await peer.ReceiveAsync(Memory<byte>.Empty, cancellationToken).ConfigureAwait(false);
        return ReceiveHandle(peer);
    }

    private static unsafe SafeFileHandle ReceiveHandle(Socket peer)
    {
        // struct msghdr on 64 bit: name, namelen, iov, iovlen, control, controllen, flags: 56 bytes.
        // struct cmsghdr: u64 len, i32 level, i32 type, then the fd. There is room for one, so the kernel closes any others.
        const int SOL_SOCKET = 1, SCM_RIGHTS = 1, MSG_CMSG_CLOEXEC = 0x40000000, ControlSize = 20, NameSize = 4096;
        var name = stackalloc byte[NameSize];
        var iov = stackalloc nint[2] { (nint)name, NameSize };
        var control = stackalloc byte[ControlSize];
        var message = stackalloc nint[7] { 0, 0, (nint)iov, 1, (nint)control, ControlSize, 0 };
        nint received;
        while ((received = recvmsg((int)peer.Handle, message, MSG_CMSG_CLOEXEC)) < 0 && Libc.LastError == Libc.EINTR)
        {
        }
        Libc.Check(received, "recvmsg on the console socket");
        if (message[5] < ControlSize || *(int*)(control + 8) != SOL_SOCKET || *(int*)(control + 12) != SCM_RIGHTS)
        {
            throw new SandboxException(SandboxError.Unknown, "the runtime sent no terminal on the console socket");
        }
        return new SafeFileHandle(*(int*)(control + 16), ownsHandle: true);
    }

    public void Dispose()
    {
        _listener.Dispose();
        File.Delete(Path);
    }

    [LibraryImport("libc", SetLastError = true)]
    private static unsafe partial nint recvmsg(int fd, nint* message, int flags);
}
