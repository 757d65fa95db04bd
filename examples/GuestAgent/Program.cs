using GuestAgent;
using GuestAgent.Boot;
using GuestAgent.Pods;
using GuestAgent.Vsock;
using Kuasar.Protocol;
using Kuasar.Sandbox;
using Microsoft.Extensions.Logging;

const uint AgentPort = 1024;

return Environment.ProcessId == 1 ? await RunMachineAsync() : await RunProcessAsync(args);

// Pid 1 of a guest: when it ends, so does the machine. An error here is a kernel panic, which the host sees.
static async Task<int> RunMachineAsync()
{
    var options = Machine.Start();
    await using (var agent = new Agent("/run/kuasar/agent", PodNamespaces.GuestFolder, "/usr/bin/crun", options.LogLevel))
    {
        agent.Network.StartLoopback();
        await using var source = new VsockSource(AgentPort);
        if (options.ReadyPort != 0)
        {
            HostCall.Begin(options.ReadyPort, text => Console.Error.WriteLine("kuasar-guest-agent: " + text));
        }
        await agent.RunAsync([source]);
    }
    Machine.PowerOff();
    return 0;
}

// A process of a host's, to try it without a machine: as root, and best in namespaces of its own, since it sets up what it takes for the guest.
static async Task<int> RunProcessAsync(string[] args)
{
    if (args is not ["--listen", { } socket, "--run-dir", { } runDirectory, "--runtime", { } runtime, ..])
    {
        Console.Error.WriteLine("usage: kuasar-guest-agent --listen SOCKET --run-dir FOLDER --runtime PATH [--debug]; or as pid 1 of a guest");
        return 2;
    }
    try
    {
        var folder = Path.GetFullPath(runDirectory);
        await using var agent = new Agent(folder, Path.Combine(folder, "ns"), runtime, args.Contains("--debug") ? LogLevel.Debug : LogLevel.Information);
        await using var source = UnixConnectionSource.Bind(Path.GetFullPath(socket));
        await agent.RunAsync([source]);
        return 0;
    }
    catch (Exception e) when (e is SandboxException or ArgumentException or IOException)
    {
        Console.Error.WriteLine("kuasar-guest-agent: " + e.Message);
        return 1;
    }
}
