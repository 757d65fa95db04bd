namespace Kuasar.Vmm;

/// <summary>A program that a driver starts, with what comes before its own arguments (a loader's, for one of another C library).</summary>
/// <param name="Path">Absolute.</param>
/// <param name="Arguments">Before all others.</param>
public sealed record VmProgram(string Path, params IReadOnlyList<string> Arguments)
{
    /// <summary>The program of a path alone.</summary>
    public static implicit operator VmProgram(string path) => FromString(path);

    /// <inheritdoc cref="op_Implicit"/>
    public static VmProgram FromString(string path) => new(path);

    internal VmCommand With(string logFile, IReadOnlyList<string> arguments) => new(Path, [.. Arguments, .. arguments]) { LogFile = logFile };

    internal void Require()
    {
        foreach (var file in Arguments.Where(System.IO.Path.IsPathFullyQualified).Prepend(Path))
        {
            if (!System.IO.Path.Exists(file))
            {
                throw new VmException(VmError.Unsupported, $"there is no {file}");
            }
        }
    }
}
