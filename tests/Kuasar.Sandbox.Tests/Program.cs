using Kuasar.Sandbox.Tests.Keeper;
using Kuasar.Sandbox.Tests.Stdio;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Kuasar.Sandbox.Tests;

/// <summary>Tests run this program again: as the keeper and its sandboxer, and as a sandboxer that copies.</summary>
internal static class Program
{
    private static Task<int> Main(string[] args) =>
        args is [Puppet.Command, var folder] ? Puppet.RunAsync(folder)
        : args is [Copier.Output, var note, var stage, var client] ? Copier.WriteAsync(note, stage, client)
        : args is [Copier.Input, var kept, var input, var process] ? Copier.ReadAsync(kept, input, process)
        : args.Contains("--server") || args.Contains("--internal-msbuild-node") ? TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
        : ConsoleRunner.Run(args);
}
