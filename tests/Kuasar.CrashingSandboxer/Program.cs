using System.Globalization;
using CrashingSandboxer;
using Kuasar.Sandbox;
using Microsoft.Extensions.Logging;

// kuasar-crashing-sandboxer RUN RUNTIME: prints the fd of its system calls' gate, and serves when it is told "go". It ends by being killed.
var gate = SyscallFilter.Install();
Console.WriteLine(gate.ToString(CultureInfo.InvariantCulture));
if (Console.ReadLine() != "go")
{
    return 1;
}
await using var host = new SandboxerHost(
    new ProcessSandboxer(args[1]),
    new SandboxerOptions { Name = "crashing", RunDirectory = args[0], LogLevel = LogLevel.Warning, TrimMemoryWhenIdle = false });
await host.RunAsync();
return 0;
