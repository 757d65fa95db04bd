using System.Text;
using Kuasar.Domain;
using Kuasar.Linux;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary>The options, with the file beside the binary laid over them.</summary>
internal sealed class ShimSettings
{
    private const int FileLimit = 64 << 10;

    private ShimSettings(ShimOptions options)
    {
        Options = options;
        SandboxerPath = options.SandboxerPath;
        SandboxerArguments = options.SandboxerArguments;
    }

    internal ShimOptions Options { get; }

    internal DomainPaths Paths { get; private set; } = null!;

    internal string? SandboxerPath { get; private set; }

    internal IReadOnlyList<string> SandboxerArguments { get; private set; }

    internal static ShimSettings Load(ShimOptions options)
    {
        var file = Environment.ProcessPath + ".conf";
        return Load(options, file, Libc.ReadFile(file, FileLimit));
    }

    /// <exception cref="ShimException">The file says something that is not understood.</exception>
    internal static ShimSettings Load(ShimOptions options, string file, ReadOnlySpan<byte> content)
    {
        var settings = new ShimSettings(options);
        var run = options.RunDirectory ?? "/run/kuasar/" + options.Sandboxer;
        var number = 0;
        while (!content.IsEmpty)
        {
            number++;
            var end = content.IndexOf((byte)'\n');
            var line = Encoding.UTF8.GetString(end < 0 ? content : content[..end]).Trim();
            content = end < 0 ? default : content[(end + 1)..];
            if (line.Length == 0 || line[0] == '#')
            {
                continue;
            }
            var equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals < 0)
            {
                throw new ShimException($"{file}, line {number}: not key=value");
            }
            var key = line[..equals].TrimEnd();
            var value = line[(equals + 1)..].TrimStart();
            switch (key)
            {
                case "run-dir":
                    run = Absolute(value, file, key);
                    break;
                case "sandboxer":
                    settings.SandboxerPath = Absolute(value, file, key);
                    break;
                case "sandboxer-args":
                    settings.SandboxerArguments = value.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                    break;
                default:
                    throw new ShimException($"{file}, line {number}: unknown key \"{key}\"");
            }
        }
        settings.Paths = new DomainPaths(run);
        return Encoding.UTF8.GetByteCount(settings.Paths.ControlSocket) <= DomainPaths.MaxSocketPath
            ? settings
            : throw new ShimException($"the path of {settings.Paths.ControlSocket} is too long for a socket, at most {DomainPaths.MaxSocketPath} bytes");
    }

    private static string Absolute(string value, string file, string key) =>
        Path.IsPathRooted(value) ? value : throw new ShimException($"{file}: {key}: \"{value}\" is not an absolute path");
}
