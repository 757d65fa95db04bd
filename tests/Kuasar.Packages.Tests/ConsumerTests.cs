namespace Kuasar.Packages.Tests;

/// <summary>A sandboxer and a shim of somebody who has the packages only.</summary>
public sealed class ConsumerTests(Feed feed) : IAsyncLifetime
{
    private Consumer _consumer = null!;

    public async ValueTask InitializeAsync() => _consumer = await Consumer.BuildAsync(feed);

    public ValueTask DisposeAsync()
    {
        _consumer?.Dispose();
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task Examples_build_from_the_packages_alone_and_run_a_container()
    {
        // Without a containerd: they built without a warning, and start.
        Assert.Contains("io.containerd.kuasar-runc.v1", await Commands.RunAsync(_consumer.Shim, ["-v"], Runtime, TimeSpan.FromSeconds(30)), StringComparison.Ordinal);
        Assert.Contains("--run-dir", await Commands.RunAsync(_consumer.Sandboxer, ["--help"], Runtime, TimeSpan.FromSeconds(30)), StringComparison.Ordinal);

        Assert.SkipWhen(PackagesBed.Obstacle is not null, $"built, but no container was run: {PackagesBed.Obstacle}");
        await using var bed = await PackagesBed.StartAsync(_consumer);
        var (code, output) = await PackagesBed.CtrAsync(
            "run", "--rm", "--runtime", "io.containerd.kuasar-runc.v1", "localhost/busybox:1", "x", "sh", "-c", "echo hi; exit 42");
        Assert.True(code == 42 && output.Trim() == "hi", $"exit code {code}\n{output}\n{PackagesBed.Logs}");
    }

    private static Dictionary<string, string> Runtime => new() { ["DOTNET_ROOT"] = Dotnet.Root };
}
