using System.Diagnostics;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Google.Protobuf.Reflection;

namespace Kuasar.Protocol.Tests.Contracts;

/// <summary>
/// The upstream .proto files, compiled. They lie in KUASAR_UPSTREAM_PROTOS, by default artifacts/upstream-protos, where
/// eng/fetch-upstream-protos.sh puts them; if they are not there, the script is run.
/// </summary>
internal static partial class UpstreamProtos
{
    private const string Variable = "KUASAR_UPSTREAM_PROTOS";
    private const string Api = "github.com/containerd/containerd/api/";
    private static readonly TimeSpan s_fetchLimit = TimeSpan.FromMinutes(5);
    private static readonly Lazy<Outcome> s_outcome = new(Load);

    /// <summary>Every file of the wanted packages, or the reason why there is none.</summary>
    internal sealed record Outcome(IReadOnlyList<FileDescriptorProto> Files, string? Unavailable, string Origin);

    internal static Outcome Get() => s_outcome.Value;

    private static Outcome Load()
    {
        var folder = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } given
            ? Path.GetFullPath(given)
            : Repository.Path("artifacts/upstream-protos");
        // A folder filled by hand has no mark of the script; a half-filled one of the script's has its apt state and no mark.
        var complete = File.Exists(Path.Combine(folder, ".complete"))
            || (Directory.Exists(folder) && !Directory.Exists(Path.Combine(folder, ".apt")) && Protos(folder).Any());
        if (!complete && Fetch(folder) is { } reason)
        {
            return new Outcome([], $"the upstream protos are not in {folder} and cannot be fetched: {reason}", folder);
        }
        var versions = Path.Combine(folder, ".versions");
        var origin = File.Exists(versions) ? File.ReadAllText(versions).Trim().ReplaceLineEndings("; ").Replace('\t', ' ') : folder;
        return new Outcome(Compile(folder), null, origin);
    }

    private static string? Fetch(string folder)
    {
        if (!OperatingSystem.IsLinux() || !File.Exists("/usr/bin/apt-get") || !File.Exists("/usr/bin/dpkg"))
        {
            return "no apt here";
        }
        if (Environment.UserName != "root")
        {
            return "apt wants root";
        }
        var (code, output) = Run(Repository.Path("eng/fetch-upstream-protos.sh"), [folder], s_fetchLimit);
        return code == 0 ? null : $"fetch-upstream-protos.sh ended with {code}: {output}";
    }

    private static List<FileDescriptorProto> Compile(string folder)
    {
        // Debian lays Go sources out as a GOPATH does, and imports are written from there.
        var sources = Directory.EnumerateDirectories(folder, "src", SearchOption.AllDirectories)
            .First(path => Directory.Exists(Path.Combine(path, "github.com", "containerd")));
        var files = Protos(sources).Select(path => Path.GetRelativePath(sources, path)).Where(path => Wanted().IsMatch(path))
            .Order(StringComparer.Ordinal).ToArray();
        var scratch = Directory.CreateTempSubdirectory("kuasar-protos-");
        try
        {
            // containerd imports its own files by their path below the GOPATH up to 2.1 and below api/ later: here always the latter.
            foreach (var file in files)
            {
                var copy = Path.Combine(scratch.FullName, BelowApi(file));
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.WriteAllText(copy, File.ReadAllText(Path.Combine(sources, file)).Replace($"import \"{Api}", "import \"", StringComparison.Ordinal));
            }

            // Imported by containerd and packaged nowhere as a .proto; only its name matters here.
            var status = Path.Combine(scratch.FullName, "google", "rpc", "status.proto");
            Directory.CreateDirectory(Path.GetDirectoryName(status)!);
            File.WriteAllText(status, "syntax = \"proto3\"; package google.rpc; message Status {}");

            var set = Path.Combine(scratch.FullName, "set");
            var tools = GrpcTools();
            var (code, output) = Run(
                Path.Combine(tools, "tools", $"linux_{(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "arm64" : "x64")}", "protoc"),
                [
                    $"--proto_path={scratch.FullName}", $"--proto_path={sources}", $"--proto_path={Path.Combine(tools, "build", "native", "include")}",
                    $"--descriptor_set_out={set}", .. files.Select(BelowApi),
                ],
                TimeSpan.FromMinutes(1));
            Assert.True(code == 0, $"protoc ended with {code}: {output}");
            return [.. FileDescriptorSet.Parser.ParseFrom(File.ReadAllBytes(set)).File];
        }
        finally
        {
            scratch.Delete(recursive: true);
        }
    }

    private static string BelowApi(string file) => file.StartsWith(Api, StringComparison.Ordinal) ? file[Api.Length..] : file;

    private static IEnumerable<string> Protos(string folder) =>
        Directory.EnumerateFiles(folder, "*.proto", SearchOption.AllDirectories);

    private static string GrpcTools() =>
        typeof(UpstreamProtos).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().First(a => a.Key == "GrpcTools").Value!;

    private static (int Code, string Output) Run(string command, IEnumerable<string> arguments, TimeSpan limit)
    {
        var start = new ProcessStartInfo(command, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var output = Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        if (!process.WaitForExit(limit))
        {
            process.Kill(entireProcessTree: true);
            return (-1, $"no end within {limit}");
        }
        return (process.ExitCode, string.Concat(output.GetAwaiter().GetResult()).Trim());
    }

    // The Go module version in the path of cgroups (v3) may change; tests and vendored copies are no source.
    [GeneratedRegex("^(github\\.com/containerd/containerd/api/|github\\.com/containerd/cgroups/(v\\d+/)?cgroup[12]/stats/|k8s\\.io/cri-api/pkg/apis/runtime/v1/)(?!.*vendor/)")]
    private static partial Regex Wanted();
}
