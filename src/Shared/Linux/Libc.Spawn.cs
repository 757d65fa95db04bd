using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Linux;

/// <summary>What a child process starts with. Nothing is inherited but what is named here.</summary>
internal sealed record SpawnRequest(string Path, IReadOnlyList<string> Arguments)
{
    /// <summary>The program's name as it sees it itself, argv[0]; null: the path.</summary>
    internal string? Name { get; init; }

    /// <summary>Whole environment as NAME=value; null: this process's own.</summary>
    internal IReadOnlyList<string>? Environment { get; init; }

    internal string? WorkingDirectory { get; init; }

    /// <summary>The child's fds, 0 upwards; null is /dev/null. The handles stay the caller's.</summary>
    internal IReadOnlyList<SafeFileHandle?> Handles { get; init; } = [null, null, null];

    /// <summary>A session of its own: no terminal and no signal of ours reaches it.</summary>
    internal bool NewSession { get; init; }
}

internal static unsafe partial class Libc
{
    // glibc's sizes on 64 bit are 80 (file actions), 336 (attributes) and 128 (signal set); musl's are no larger than what is kept here.
    private const int OpaqueSize = 512;

    /// <summary>posix_spawn: no fork of this process, all signals back to their defaults. The pid; the caller reaps it.</summary>
    internal static int Spawn(SpawnRequest request)
    {
        var actions = stackalloc byte[OpaqueSize];
        var attributes = stackalloc byte[OpaqueSize];
        var signals = stackalloc byte[128];
        var copies = new List<SafeFileHandle>();
        using var arguments = new CStringArray([request.Name ?? request.Path, .. request.Arguments]);
        using var environment = new CStringArray(request.Environment ?? OwnEnvironment());
        CheckReturn(posix_spawn_file_actions_init(actions), "posix_spawn_file_actions_init");
        CheckReturn(posix_spawnattr_init(attributes), "posix_spawnattr_init");
        try
        {
            // First lift every handle above the range that dup2 writes to, so that no step overwrites the source of a later one.
            for (var fd = 0; fd < request.Handles.Count; fd++)
            {
                if (request.Handles[fd] is { } handle)
                {
                    var copy = Duplicate(handle, 64);
                    copies.Add(copy);
                    CheckReturn(posix_spawn_file_actions_adddup2(actions, (int)copy.DangerousGetHandle(), fd), "adddup2");
                }
                else
                {
                    CheckReturn(posix_spawn_file_actions_addopen(actions, fd, "/dev/null", O_RDWR, 0), "addopen");
                }
            }
            if (request.WorkingDirectory is { } folder)
            {
                CheckReturn(posix_spawn_file_actions_addchdir_np(actions, folder), "addchdir");
            }

            const short SETSIGDEF = 4, SETSIGMASK = 8, SETSID = 0x80;
            CheckReturn(posix_spawnattr_setflags(attributes, (short)(SETSIGDEF | SETSIGMASK | (request.NewSession ? SETSID : 0))), "setflags");
            new Span<byte>(signals, 128).Clear();
            CheckReturn(posix_spawnattr_setsigmask(attributes, signals), "setsigmask");
            // .NET ignores SIGPIPE; a container must not inherit that.
            new Span<byte>(signals, 128).Fill(0xFF);
            CheckReturn(posix_spawnattr_setsigdefault(attributes, signals), "setsigdefault");

            int pid;
            CheckReturn(posix_spawn(&pid, request.Path, actions, attributes, arguments.Pointer, environment.Pointer), $"start {request.Path}");
            return pid;
        }
        finally
        {
            copies.ForEach(copy => copy.Dispose());
            _ = posix_spawn_file_actions_destroy(actions);
            _ = posix_spawnattr_destroy(attributes);
        }
    }

    private static string[] OwnEnvironment()
    {
        var result = new List<string>();
        foreach (System.Collections.DictionaryEntry entry in System.Environment.GetEnvironmentVariables())
        {
            result.Add($"{entry.Key}={entry.Value}");
        }
        return [.. result];
    }

    // These return the error instead of setting errno.
    private static void CheckReturn(int error, string call)
    {
        if (error != 0)
        {
            throw new LinuxException(call, error);
        }
    }

    /// <summary>A NULL-ended array of UTF-8 C strings in native memory.</summary>
    private sealed class CStringArray : IDisposable
    {
        private readonly int _count;

        internal CStringArray(IReadOnlyList<string> values)
        {
            _count = values.Count;
            Pointer = (byte**)NativeMemory.Alloc((nuint)(_count + 1), (nuint)sizeof(byte*));
            for (var i = 0; i < _count; i++)
            {
                var length = Encoding.UTF8.GetByteCount(values[i]);
                Pointer[i] = (byte*)NativeMemory.Alloc((nuint)length + 1);
                Encoding.UTF8.GetBytes(values[i], new Span<byte>(Pointer[i], length));
                Pointer[i][length] = 0;
            }
            Pointer[_count] = null;
        }

        internal byte** Pointer { get; private set; }

        public void Dispose()
        {
            for (var i = 0; i < _count && Pointer != null; i++)
            {
                NativeMemory.Free(Pointer[i]);
            }
            NativeMemory.Free(Pointer);
            Pointer = null;
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int posix_spawn(int* pid, string path, byte* actions, byte* attributes, byte** arguments, byte** environment);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_init(byte* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_destroy(byte* actions);

    [LibraryImport("libc")]
    private static partial int posix_spawn_file_actions_adddup2(byte* actions, int fd, int newFd);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int posix_spawn_file_actions_addopen(byte* actions, int fd, string path, int flags, uint mode);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int posix_spawn_file_actions_addchdir_np(byte* actions, string path);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_init(byte* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_destroy(byte* attributes);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setflags(byte* attributes, short flags);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigmask(byte* attributes, byte* signals);

    [LibraryImport("libc")]
    private static partial int posix_spawnattr_setsigdefault(byte* attributes, byte* signals);
}
