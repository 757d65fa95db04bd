using System.Diagnostics;
using Kuasar.Domain;
using Kuasar.Linux;

namespace Kuasar.Shim.Hosting.Tests;

internal sealed record ShimResult(int ExitCode, byte[] Output, string Error, TimeSpan Elapsed)
{
    internal string Text => System.Text.Encoding.UTF8.GetString(Output);
}

/// <summary>A copy of the example shim with a configuration and a domain of its own, run as containerd runs it.</summary>
internal sealed class ShimUnderTest : IDisposable
{
    internal const string Containerd = "/run/some/containerd.sock";

    private readonly string _root = Directory.CreateTempSubdirectory("kshim-").FullName;

    internal ShimUnderTest(string configuration = "")
    {
        Directory.CreateDirectory(Path.Combine(_root, "bin"));
        foreach (var file in Directory.GetFiles(AppContext.BaseDirectory))
        {
            var name = Path.GetFileName(file);
            if (name.StartsWith("containerd-shim-kuasar-runc-v1", StringComparison.Ordinal)
                || name is "Kuasar.Shim.Hosting.dll" or "Kuasar.Protocol.dll" or "Google.Protobuf.dll" or "Grpc.Core.Api.dll")
            {
                File.Copy(file, Path.Combine(_root, "bin", name));
            }
        }
        Binary = Path.Combine(_root, "bin", "containerd-shim-kuasar-runc-v1");
        Paths = new DomainPaths(Path.Combine(_root, "run"));
        Configure(configuration);
    }

    internal string Binary { get; }

    internal DomainPaths Paths { get; }

    internal void Configure(string lines) => File.WriteAllText(Binary + ".conf", $"run-dir={Paths.Run}\n{lines}\n");

    internal string Bundle(string id)
    {
        var bundle = Path.Combine(_root, "bundles", "k8s.io", id);
        Directory.CreateDirectory(Path.Combine(bundle, "rootfs"));
        return bundle;
    }

    internal static string[] Arguments(string id, string action, params string[] more) =>
        ["-namespace", "k8s.io", "-address", Containerd, "-publish-binary", "/usr/bin/containerd", "-id", id, .. more, action];

    internal ShimResult Start(string id, byte[]? input = null) => Run(Arguments(id, "start"), input, Bundle(id));

    internal ShimResult Delete(string id) => Run(Arguments(id, "delete", "-bundle", Bundle(id)), null, Bundle(id));

    internal ShimResult Run(string[] arguments, byte[]? input = null, string? folder = null, string? shell = null)
    {
        var start = new ProcessStartInfo(shell is null ? Binary : "/bin/sh")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder ?? _root,
        };
        string[] words = shell is null ? arguments : ["-c", shell, "sh", Binary, .. arguments];
        foreach (var word in words)
        {
            start.ArgumentList.Add(word);
        }
        start.Environment.Remove("GRPC_ADDRESS");
        start.Environment["TTRPC_ADDRESS"] = Containerd + ".ttrpc";
        start.Environment["DOTNET_TieredPGO"] = "0";

        var watch = Stopwatch.StartNew();
        using var process = Process.Start(start)!;
        using (var stdin = process.StandardInput.BaseStream)
        {
            stdin.Write(input ?? []);
        }
        var error = process.StandardError.ReadToEndAsync();
        using var output = new MemoryStream();
        process.StandardOutput.BaseStream.CopyTo(output);
        process.WaitForExit();
        return new ShimResult(process.ExitCode, output.ToArray(), error.Result, watch.Elapsed);
    }

    public void Dispose()
    {
        foreach (var line in File.ReadLines("/proc/self/mountinfo").Reverse().ToArray())
        {
            if (line.Split(' ')[4] is var point && point.StartsWith(_root + "/", StringComparison.Ordinal))
            {
                Libc.UnmountAll(point);
            }
        }
        // A sandboxer that was started here may be writing.
        for (var i = 0; Directory.Exists(_root); i++)
        {
            try
            {
                Directory.Delete(_root, recursive: true);
            }
            catch (IOException) when (i < 20)
            {
                Thread.Sleep(50);
            }
        }
    }
}
