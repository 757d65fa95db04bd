using System.Runtime.InteropServices;

namespace Kuasar.Linux;

/// <summary>Work in other namespaces, on a thread that ends with it: one that has entered them must serve nobody else.</summary>
internal static class NamespaceThread
{
    private const int StackSize = 256 * 1024;

    /// <inheritdoc cref="RunAsync{T}"/>
    internal static Task RunAsync(Action work) => RunAsync(() =>
    {
        work();
        return true;
    });

    /// <param name="work">Enters the namespaces, and blocks for system calls only.</param>
    internal static Task<T> RunAsync<T>(Func<T> work)
    {
        var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        var thread = new Thread(
            () =>
            {
                try
                {
                    result.SetResult(work());
                }
#pragma warning disable CA1031 // it is thrown where the thread is waited for
                catch (Exception e)
#pragma warning restore CA1031
                {
                    result.SetException(e);
                }
            },
            StackSize) { IsBackground = true, Name = "kuasar-namespace" };
        thread.UnsafeStart();
        return result.Task;
    }
}

internal static unsafe partial class Libc
{
    internal const int CLONE_NEWUTS = 0x04000000, CLONE_NEWIPC = 0x08000000, CLONE_NEWPID = 0x20000000, CLONE_NEWNET = 0x40000000;

    /// <summary>Moves the calling thread into a namespace of this type. The thread must not go back to a pool.</summary>
    internal static void EnterNamespace(string path, int type)
    {
        using var handle = Open(path, O_RDONLY);
        Check(setns((int)handle.DangerousGetHandle(), type), $"setns {path}");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setns(int fd, int type);
}
