using System.IO.MemoryMappedFiles;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>The input that runs, in a file that outlives the process: whatever ends it, its parent knows what it was doing.</summary>
internal sealed class CurrentInput : IDisposable
{
    private const int Capacity = 64 << 10;

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    internal CurrentInput(string path)
    {
        _file = MemoryMappedFile.CreateFromFile(path, FileMode.Create, null, Capacity);
        _view = _file.CreateViewAccessor();
    }

    internal void Set(byte[] input)
    {
        _view.Write(0, Math.Min(input.Length, Capacity - sizeof(int)));
        _view.WriteArray(sizeof(int), input, 0, Math.Min(input.Length, Capacity - sizeof(int)));
    }

    internal static byte[] Read(string path)
    {
        var bytes = File.ReadAllBytes(path);
        return bytes.AsSpan(sizeof(int), BitConverter.ToInt32(bytes)).ToArray();
    }

    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
    }
}
