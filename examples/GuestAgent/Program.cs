using GuestAgent;
using GuestAgent.Boot;
using GuestAgent.Pods;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Sandbox;
using Kuasar.Vmm;
using Microsoft.Extensions.Logging;

return Environment.ProcessId == 1 ? await RunMachineAsync() : await RunProcessAsync(args);

// Pid 1 of a guest: when it ends, so does the machine. An error here is a kernel panic, which the host sees.
static async Task<int> RunMachineAsync()
{
    var options = Machine.Start();
    await using (var agent = new Agent("/run/kuasar/agent", PodNamespaces.GuestFolder, "/usr/bin/crun", options.LogLevel))
    {
        agent.Network.StartLoopback();
        PowerButton.Watch(agent.Stop);
        HotPlug.Watch();
        await using var source = new HostConnections(VsockEndPoint.Native(VsockEndPoint.AnyCid, AgentClient.Port).Listen());
        Machine.Note("serves");
        await Task.WhenAll(agent.RunAsync([source]), CallHomeAsync(options.ReadyPort));
    }
    Machine.PowerOff();
    return 0;
}

// Tells the host that the agent serves; a host that does not listen for that asks by itself.
static async Task CallHomeAsync(uint port)
{
    if (port == 0)
    {
        return;
    }
    try
    {
        await using var call = await VsockEndPoint.Native(VsockEndPoint.HostCid, port).ConnectAsync(TimeSpan.FromSeconds(5));
    }
    catch (VsockException e)
    {
        Console.Error.WriteLine("kuasar-guest-agent: the host does not listen to hear that it serves: " + e.Message);
    }
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
