using Kuasar.Linux;

namespace Kuasar.Vmm.Network;

/// <summary>Runs code in a network namespace.</summary>
internal static class NetworkNamespace
{
    /// <summary>Runs it on a thread that enters the namespace and ends with it.</summary>
    /// <param name="path">The namespace's file.</param>
    /// <param name="work">Blocks for system calls only.</param>
    /// <exception cref="IOException">The file is no network namespace, or the caller may not enter it.</exception>
    internal static Task<T> RunAsync<T>(string path, Func<T> work) => NamespaceThread.RunAsync(() =>
    {
        Libc.EnterNamespace(path, Libc.CLONE_NEWNET);
        return work();
    });
}
