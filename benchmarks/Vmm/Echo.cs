using System.Diagnostics;
using System.Globalization;
using Kuasar.Vmm;
using Kuasar.Vmm.Contracts.Agent;

namespace Vmm;

/// <summary>
/// The two clients of vsock.sh between a guest and this host, in turns: in the guest to an echo of this host by AF_VSOCK, and here to an echo in the
/// guest through the hybrid socket. The servers are the plain C one.
/// </summary>
internal sealed class Echo(LibraryBoot library, string plain, string dotnet, int rounds, int count)
{
    private const string InGuest = "/run/kuasar/state";
    private const uint Port = 7000;

    private static readonly string[] s_kinds = ["c", "blocking", "async"];

    internal Task RunAsync(CancellationToken cancellationToken) => library.WithGuestAsync(async (machine, agent, _, _, _) =>
    {
        File.Copy(plain, Path.Combine(library.Share, "vsock"));
        File.Copy(dotnet, Path.Combine(library.Share, "vsock-dotnet"));
        using var here = Process.Start(plain, ["serve", $"unix://{machine.EndPoint(Port).Path}_{Port}"]);
        try
        {
            await InGuestAsync($"{InGuest}/vsock serve vsock://{VsockEndPoint.AnyCid}:{Port} >/dev/null 2>&1 </dev/null &");
            Console.WriteLine("| 64 bytes there and back | client | median us | p99 us | to C |");
            Console.WriteLine("|---|---|--:|--:|--:|");
            await CompareAsync("AF_VSOCK from the guest to an echo on the host", kind => InGuestAsync(
                string.Join(' ', Command(kind, $"{InGuest}/vsock", $"DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 {InGuest}/vsock-dotnet", $"vsock://{VsockEndPoint.HostCid}:{Port}"))));
            await CompareAsync("hybrid socket to an echo in the guest", kind => HereAsync(Command(kind, plain, dotnet, machine.EndPoint(Port).ToString())));
        }
        finally
        {
            here.Kill();
            await here.WaitForExitAsync(CancellationToken.None);
        }

        async Task<string> InGuestAsync(string command) => (await agent.Sandbox.ExecVMProcessAsync(
            new ExecVMProcessRequest { Command = command }, deadline: DateTime.UtcNow.AddMinutes(1), cancellationToken: cancellationToken)).Out;
    }, cancellationToken);

    private string[] Command(string kind, string c, string ours, string address)
    {
        var times = count.ToString(CultureInfo.InvariantCulture);
        return kind == "c" ? [c, "client", address, times] : [ours, kind, address, times];
    }

    private static async Task<string> HereAsync(string[] command)
    {
        var start = new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return output;
    }

    private async Task CompareAsync(string what, Func<string, Task<string>> runAsync)
    {
        var medians = s_kinds.ToDictionary(static kind => kind, static _ => new List<double>());
        var tails = s_kinds.ToDictionary(static kind => kind, static _ => new List<double>());
        string[] turns = [.. s_kinds];
        for (var round = 0; round < rounds; round++)
        {
            Random.Shared.Shuffle(turns);
            foreach (var kind in turns)
            {
                var numbers = (await runAsync(kind)).Split(' ');
                medians[kind].Add(double.Parse(numbers[0], CultureInfo.InvariantCulture) / 1000);
                tails[kind].Add(double.Parse(numbers[1], CultureInfo.InvariantCulture) / 1000);
            }
        }
        foreach (var kind in s_kinds)
        {
            var ratio = Middle(medians[kind].Zip(medians["c"], static (ours, theirs) => ours / theirs));
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {what} | {kind} | {Middle(medians[kind]):F1} | {Middle(tails[kind]):F1} | {ratio:F2} |"));
        }
    }

    private static double Middle(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted[sorted.Length / 2];
    }
}
