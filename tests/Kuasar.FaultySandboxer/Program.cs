using FaultySandboxer;
using Kuasar.Sandbox;
using Microsoft.Extensions.Logging;

// As kuasar-runc-sandboxer, which it stands in for: --run-dir FOLDER --runtime RUNC --log-level LEVEL
string Option(string name) => args[Array.IndexOf(args, name) + 1];

var options = new SandboxerOptions { Name = "runc", RunDirectory = Option("--run-dir"), LogLevel = LogLevel.Debug };
await using var host = new SandboxerHost(new Sandboxes(Option("--runtime")), options);
await host.RunAsync();
