using Kuasar.Sandbox.Tests.Keeper;
using Xunit.MicrosoftTestingPlatform;
using Xunit.Runner.InProc.SystemConsole;

namespace Kuasar.Sandbox.Tests;

/// <summary>Tests of the keeper run this program again, as the keeper and as its sandboxer.</summary>
internal static class Program
{
    private static Task<int> Main(string[] args) =>
        args is [Puppet.Command, var folder] ? Puppet.RunAsync(folder)
        : args.Contains("--server") || args.Contains("--internal-msbuild-node") ? TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
        : ConsoleRunner.Run(args);
}
