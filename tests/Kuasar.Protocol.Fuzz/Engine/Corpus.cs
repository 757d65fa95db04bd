using System.Security.Cryptography;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>Where inputs are kept: a folder per target, a file per input.</summary>
internal static class Corpus
{
    /// <summary>The folder of the repository's own inputs.</summary>
    internal static string Committed(string target) => Repository.Path($"tests/Kuasar.Protocol.Fuzz/corpus/{target}");

    /// <summary>Where found inputs and crashes go.</summary>
    internal static string Artifacts { get; } = Repository.Path("artifacts/fuzz");

    /// <summary>By name, so in the same order everywhere.</summary>
    internal static IEnumerable<(string Name, byte[] Bytes)> Read(string folder) => Directory.Exists(folder)
        ? Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal)
            .Select(static file => (Path.GetFileName(file), File.ReadAllBytes(file)))
        : [];

    /// <summary>Writes the input under a name that its bytes give.</summary>
    internal static string Write(string folder, string prefix, byte[] bytes)
    {
        Directory.CreateDirectory(folder);
        var file = Path.Combine(folder, prefix + Convert.ToHexStringLower(SHA256.HashData(bytes))[..12]);
        File.WriteAllBytes(file, bytes);
        return file;
    }
}
