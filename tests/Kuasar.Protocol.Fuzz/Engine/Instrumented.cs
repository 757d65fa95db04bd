using SharpFuzz;

namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>A copy of this program whose Kuasar.Protocol.dll SharpFuzz has instrumented.</summary>
internal static class Instrumented
{
    private const string Library = "Kuasar.Protocol.dll";

    private static readonly Lock Once = new();
    private static string? s_program;

    /// <summary>Makes the copy, once per process; gives back the program's path.</summary>
    internal static string Prepare()
    {
        lock (Once)
        {
            return s_program ??= Make();
        }
    }

    private static string Make()
    {
        var name = typeof(Instrumented).Assembly.GetName().Name + ".dll";
        var source = Path.GetDirectoryName(typeof(Instrumented).Assembly.Location)!;
        // Of this process: two runs at once must not pull the files away from under each other.
        var folder = Path.Combine(Corpus.Artifacts, $"bin-{Environment.ProcessId}");
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        Directory.CreateDirectory(folder);
        foreach (var file in Directory.EnumerateFiles(source))
        {
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)), overwrite: true);
        }
        // Options read it when they are first looked at.
        Environment.SetEnvironmentVariable("SHARPFUZZ_ENABLE_ON_BRANCH_CALLBACK", "1");
        var types = Fuzzer.Instrument(
            Path.Combine(folder, Library),
            static type => type.StartsWith("Kuasar.Protocol.", StringComparison.Ordinal)
                && !type.StartsWith("Kuasar.Protocol.Contracts.", StringComparison.Ordinal),
            Options.Value);
        if (!types.Any())
        {
            throw new InvalidOperationException($"nothing of {Library} was instrumented");
        }
        return Path.Combine(folder, name);
    }
}
