using System.CommandLine;

var runtime = new Option<string>("--runtime")
{
    Description = "The OCI runtime: a path, or a name on PATH (runc, crun)",
    DefaultValueFactory = _ => "runc",
};
var systemdCgroup = new Option<bool>("--systemd-cgroup") { Description = "Let systemd manage cgroups" };
var command = new SandboxerCommand(
    "runc", "Runs all runc containers and pods of a node's containerd in one resident process.", [runtime, systemdCgroup],
    arguments => new RuncSandboxer.RuncSandboxer(arguments.GetRequiredValue(runtime), arguments.GetValue(systemdCgroup)));
return await command.RunAsync(args);
