using Kuasar.Sandbox.Tests.Keeper;
using Kuasar.Sandbox.Tests.Stdio;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Kuasar.Sandbox.Tests;

/// <summary>Tests run this program again: as the keeper and its sandboxer, and as a sandboxer with output.</summary>
internal static class Program
{
    private static Task<int> Main(string[] args) =>
        args is [Puppet.Command, var folder] ? Puppet.RunAsync(folder)
        : args is [OutputWriter.Command, var note, var stage, var fifo] ? OutputWriter.RunAsync(note, stage, fifo)
        : args.Contains("--server") || args.Contains("--internal-msbuild-node") ? TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
        : ConsoleRunner.Run(args);
}
