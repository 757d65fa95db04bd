using System.CommandLine;
using Kuasar.Sandbox;
using Kuasar.Sandbox.Grpc;
using Microsoft.Extensions.Logging;
using RuncSandboxer;

var runDirectory = new Option<string>("--run-dir")
{
    Description = "Where all sockets and state live; for the shim it is run-dir= in a file beside it, named like it with .conf",
    DefaultValueFactory = _ => "/run/kuasar/runc",
};
var runtime = new Option<string>("--runtime")
{
    Description = "The OCI runtime: a path, or a name on PATH (runc, crun)",
    DefaultValueFactory = _ => "runc",
};
var systemdCgroup = new Option<bool>("--systemd-cgroup") { Description = "Let systemd manage cgroups" };
var proxy = new Option<string?>("--proxy")
{
    Description = "Also serves a proxy plugin of containerd (type = \"sandbox\") on this socket",
};
var containerd = new Option<string>("--containerd")
{
    Description = "The gRPC socket of the containerd that has the proxy plugin",
    DefaultValueFactory = _ => "/run/containerd/containerd.sock",
};
var logLevels = new Dictionary<string, LogLevel>
{
    ["trace"] = LogLevel.Trace, ["debug"] = LogLevel.Debug, ["info"] = LogLevel.Information, ["warn"] = LogLevel.Warning, ["error"] = LogLevel.Error,
};
var logLevel = new Option<string>("--log-level")
{
    Description = "The least level that is logged to standard error",
    DefaultValueFactory = _ => "info",
};
logLevel.AcceptOnlyFromAmong([.. logLevels.Keys]);
var noKeeper = new Option<bool>("--no-keeper")
{
    Description = "One process alone: when it ends, containerd takes every container for dead",
};

var command = new RootCommand("Runs all runc containers and pods of a node's containerd in one resident process.")
{
    runDirectory, runtime, systemdCgroup, proxy, containerd, logLevel, noKeeper,
};
command.SetAction(async (arguments, cancellationToken) =>
{
    var options = new SandboxerOptions
    {
        Name = "runc",
        RunDirectory = Path.GetFullPath(arguments.GetRequiredValue(runDirectory)),
        LogLevel = logLevels[arguments.GetRequiredValue(logLevel)],
        Keeper = !arguments.GetValue(noKeeper),
    };
    if (arguments.GetValue(proxy) is { } socket)
    {
        options.Routes.Add(new ProxyRoute(Path.GetFullPath(socket)) { ContainerdAddress = arguments.GetRequiredValue(containerd) });
    }
    try
    {
        return await SandboxerHost.RunProgramAsync(
            () => new RuncSandboxer.RuncSandboxer(arguments.GetRequiredValue(runtime), arguments.GetValue(systemdCgroup)), options, cancellationToken);
    }
    catch (Exception e) when (e is SandboxException or ArgumentException or IOException)
    {
        return Fail(e);
    }
});

var binary = new Option<string?>("--binary") { Description = "The new executable; default: the file that is now where the running one was started from" };
var deadline = new Option<int>("--deadline")
{
    Description = "Seconds that the new sandboxer has until it serves; the old one goes on if it does not",
    DefaultValueFactory = _ => 30,
};
var upgrade = new Command("upgrade", "Puts another binary in the place of the running sandboxer and its keeper; containerd notices nothing.")
{
    runDirectory, binary, deadline,
};
upgrade.SetAction(arguments => Tell(() => KeeperClient.Upgrade(
    Path.GetFullPath(arguments.GetRequiredValue(runDirectory)),
    arguments.GetValue(binary) is { } path ? Path.GetFullPath(path) : null,
    TimeSpan.FromSeconds(arguments.GetRequiredValue(deadline)))));
var status = new Command("status", "Says what the keeper holds.") { runDirectory };
status.SetAction(arguments => Tell(() => KeeperClient.Status(Path.GetFullPath(arguments.GetRequiredValue(runDirectory)))));
command.Add(upgrade);
command.Add(status);
return await command.Parse(args).InvokeAsync();

static int Tell(Func<string> ask)
{
    try
    {
        Console.WriteLine(ask());
        return 0;
    }
    catch (Exception e) when (e is SandboxException or ArgumentException or IOException)
    {
        return Fail(e);
    }
}

static int Fail(Exception e)
{
    Console.Error.WriteLine($"kuasar-runc-sandboxer: {e.Message}");
    return 1;
}
