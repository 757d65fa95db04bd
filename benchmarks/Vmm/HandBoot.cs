using System.Diagnostics;
using System.Globalization;

namespace Vmm;

/// <summary>The same guest without any of this: benchmarks/vmm.c with the library's command lines.</summary>
internal sealed class HandBoot(string program, string folder)
{
    /// <summary>From nothing to the guest's call.</summary>
    internal async Task<TimeSpan> RunAsync(IReadOnlyList<(string Role, string[] Arguments)> commandLines, CancellationToken cancellationToken)
    {
        // What a guest that was killed has left.
        foreach (var file in Directory.EnumerateFiles(Path.Combine(folder, "vm")))
        {
            File.Delete(file);
        }
        File.Delete(Path.Combine(folder, "console.log"));
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true };
        start.ArgumentList.Add(Path.Combine(folder, "vm", "vsock_1026"));
        start.ArgumentList.Add(Path.Combine(folder, "vm", "hand.log"));
        foreach (var (role, arguments) in commandLines)
        {
            start.ArgumentList.Add("--");
            start.ArgumentList.Add(SocketOf(role, arguments));
            // Stopped until its machine protocol says go: nobody does, by hand.
            foreach (var argument in arguments.Where(static argument => argument != "-S"))
            {
                start.ArgumentList.Add(argument);
            }
        }
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode == 0
            ? TimeSpan.FromTicks(long.Parse(output, CultureInfo.InvariantCulture) / TimeSpan.NanosecondsPerTick)
            : throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {await File.ReadAllTextAsync(Path.Combine(folder, "vm", "hand.log"), cancellationToken)}");
    }

    private string SocketOf(string role, string[] arguments) => role switch
    {
        "hypervisor" => "-",
        "vsock" => Path.Combine(folder, "vm", "vhost-vsock"),
        _ => arguments[Array.IndexOf(arguments, "--socket-path") + 1],
    };
}
