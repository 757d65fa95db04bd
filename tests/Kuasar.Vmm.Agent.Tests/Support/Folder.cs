namespace Kuasar.Vmm.Agent.Tests.Support;

/// <summary>A folder of mode 0700 with a short path, for sockets.</summary>
internal sealed class Folder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("kv-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
