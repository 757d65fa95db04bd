using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using ControlClient = Kuasar.Protocol.Contracts.Control.Control.ControlClient;

namespace Kuasar.Sandbox.Tests;

public sealed class SandboxerHostTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-host-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private SandboxerOptions Options => new() { Name = "test", RunDirectory = Path.Combine(_folder, "run"), LoggerFactory = NullLoggerFactory.Instance };

    private static ContainerdInstance Containerd => new() { GrpcAddress = "/run/c.sock", TtrpcAddress = "/run/c.sock.ttrpc", Version = "2.1.0" };

    private static string ModeOf(string path) => Convert.ToString((int)File.GetUnixFileMode(path), 8);

    [Fact]
    public async Task Of_two_on_one_run_directory_the_second_is_told_so_and_the_first_goes_on()
    {
        await using var first = new SandboxerHost(new TestSandboxer(), Options);
        await first.StartAsync();
        await using (var second = new SandboxerHost(new TestSandboxer(), Options))
        {
            var error = await Within.Fails(SandboxError.AlreadyExists, () => second.StartAsync());
            Assert.Contains(Path.Combine(_folder, "run"), error.Message, StringComparison.Ordinal);
        }
        await using (var client = await TtrpcClient.ConnectAsync(Path.Combine(_folder, "run/control.sock")))
        {
            await new ControlClient(client).InfoAsync(new InfoRequest()).ResponseAsync.InTime();
        }
        await first.DisposeAsync();
        await first.DisposeAsync();

        Assert.False(File.Exists(Path.Combine(_folder, "run/control.sock")));
        await using var third = new SandboxerHost(new TestSandboxer(), Options);
        await third.StartAsync();
    }

    [Fact]
    public async Task Folders_are_0700_and_sockets_0600()
    {
        await using var host = new SandboxerHost(new TestSandboxer(), Options);
        await host.StartAsync();
        await using var client = await TtrpcClient.ConnectAsync(Path.Combine(_folder, "run/control.sock"));
        var resolved = await new ControlClient(client).ResolveAsync(new ResolveRequest { Containerd = Containerd, Namespace = "ns", Id = "one" }).ResponseAsync.InTime();

        var socket = resolved.Address["unix://".Length..];
        Assert.Equal((3u, "ttrpc"), (resolved.Version, resolved.Protocol));
        Assert.Equal("600", ModeOf(socket));
        Assert.Equal("700", ModeOf(Path.GetDirectoryName(socket)!));
        Assert.Equal("700", ModeOf(Path.Combine(_folder, "run")));
        Assert.Equal("600", ModeOf(Path.Combine(_folder, "run/control.sock")));
        Assert.Equal("600", ModeOf(Path.Combine(_folder, "run/lock")));
    }

    [Theory]
    [InlineData("", "one")]
    [InlineData("ns", "")]
    [InlineData("ns", "../one")]
    [InlineData("../ns", "one")]
    [InlineData("ns", ".one")]
    [InlineData("ns", "a/b")]
    public async Task Ids_that_are_none_are_InvalidArgument(string containerdNamespace, string id)
    {
        await using var host = new SandboxerHost(new TestSandboxer(), Options);
        await host.StartAsync();
        await using var connection = await TtrpcClient.ConnectAsync(Path.Combine(_folder, "run/control.sock"));
        var client = new ControlClient(connection);

        await FailsAsync(client.ResolveAsync(new ResolveRequest { Containerd = Containerd, Namespace = containerdNamespace, Id = id }));
        await FailsAsync(client.RemoveAsync(new RemoveRequest { Containerd = Containerd, Namespace = containerdNamespace, Id = id }));
        await FailsAsync(client.ResolveAsync(new ResolveRequest { Namespace = "ns", Id = "one" }));
        await FailsAsync(client.RemoveAsync(new RemoveRequest { Containerd = new ContainerdInstance(), Namespace = "ns", Id = "one" }));
        // One that nobody knows is gone, as was asked.
        var removed = await client.RemoveAsync(new RemoveRequest { Containerd = Containerd, Namespace = "ns", Id = "one" }).ResponseAsync.InTime();
        Assert.Equal((0u, 137u), (removed.Pid, removed.ExitStatus));
    }

    private static async Task FailsAsync<T>(AsyncUnaryCall<T> call)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.InTime());
        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
    }

    [Theory]
    [InlineData("", "/run/x", "name")]
    [InlineData("a/b", "/run/x", "name")]
    [InlineData("ok", "relative", "absolute")]
    [InlineData("ok", "/run/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789", "too long")]
    public void Options_that_are_wrong_are_named(string name, string folder, string word)
    {
        var error = Assert.Throws<ArgumentException>(() => new SandboxerHost(new TestSandboxer(), new SandboxerOptions { Name = name, RunDirectory = folder }));
        Assert.Contains(word, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_run_directory_is_by_the_name()
    {
        Assert.Equal("/run/kuasar/test", new SandboxerOptions { Name = "test" }.RunDirectory);
        Assert.Throws<InvalidOperationException>(() => new TestSandboxer().Services);
    }

    [Fact]
    public async Task A_host_leaves_no_fd_and_no_thread()
    {
        await RunAsync();
        var before = Bed.DescriptorsBefore();
        for (var i = 0; i < 5; i++)
        {
            await RunAsync();
        }
        await Within.Until(() => Bed.OpenDescriptors <= before, "no fd more");
        // A thread that has been joined may be seen for a moment more.
        await Within.Until(() => !Directory.GetDirectories("/proc/self/task").Any(task => Procfs.Words(task + "/comm") is ["kuasar-epoll"]), "no thread more");

        async Task RunAsync()
        {
            await using var host = new SandboxerHost(new TestSandboxer(), Options);
            await host.StartAsync();
            await using var client = await TtrpcClient.ConnectAsync(Path.Combine(_folder, "run/control.sock"));
            await new ControlClient(client).ResolveAsync(new ResolveRequest { Containerd = Containerd, Namespace = "ns", Id = "one" }).ResponseAsync.InTime();
        }
    }
}
