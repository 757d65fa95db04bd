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

var command = new RootCommand("Runs all runc containers and pods of a node's containerd in one resident process.")
{
    runDirectory, runtime, systemdCgroup, proxy, containerd, logLevel,
};
command.SetAction(async (arguments, cancellationToken) =>
{
    var options = new SandboxerOptions
    {
        Name = "runc",
        RunDirectory = Path.GetFullPath(arguments.GetRequiredValue(runDirectory)),
        LogLevel = logLevels[arguments.GetRequiredValue(logLevel)],
    };
    if (arguments.GetValue(proxy) is { } socket)
    {
        options.Routes.Add(new ProxyRoute(Path.GetFullPath(socket)) { ContainerdAddress = arguments.GetRequiredValue(containerd) });
    }
    try
    {
        var sandboxer = new RuncSandboxer.RuncSandboxer(arguments.GetRequiredValue(runtime), arguments.GetValue(systemdCgroup));
        await using var host = new SandboxerHost(sandboxer, options);
        await host.RunAsync(cancellationToken);
        return 0;
    }
    catch (Exception e) when (e is SandboxException or ArgumentException or IOException)
    {
        await Console.Error.WriteLineAsync($"kuasar-runc-sandboxer: {e.Message}");
        return 1;
    }
});
return await command.Parse(args).InvokeAsync();
