using System.Text.Json;
using Grpc.Core;
using Kuasar.Protocol;
using TaskService = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.EndToEnd.Tests.Input;

/// <summary>A node whose sandboxer is spoken to without containerd in between.</summary>
public sealed class SandboxerNode(TestRun run) : OwnNode(run, "input")
{
    internal override string? Missing => OursOnly;
}

[CollectionDefinition(Name)]
public sealed class SandboxerTests : ICollectionFixture<SandboxerNode>
{
    public const string Name = "sandboxer";
}

/// <summary>What the tests share that speak to the sandboxer's own sockets. One container runs beside them and must not notice.</summary>
public abstract class SandboxerTest(TestRun run, SandboxerNode own) : NodeTest(run, own)
{
    internal const string NamespaceHeader = "containerd-namespace-ttrpc";
    private TtrpcClient? _client;

    /// <summary>The socket of the Task service, as containerd knows it.</summary>
    internal string TaskSocket { get; private set; } = "";

    internal string ControlSocket => Node.Sandboxer!.ControlSocket;

    internal TestContainer Bystander { get; private set; } = null!;

    internal TaskService.TaskClient Tasks { get; private set; } = null!;

    protected override string OursOnly => "it is about its sockets";

    public override async ValueTask InitializeAsync()
    {
        await base.InitializeAsync();
        Bystander = await StartIdleAsync();
        // containerd 2 has written the former, for 1.7 the shim the latter.
        var file = (string[])[Path.Combine(Bystander.Bundle, "bootstrap.json"), Path.Combine(Bystander.Bundle, "address")];
        using var bootstrap = JsonDocument.Parse(await File.ReadAllTextAsync(file.First(File.Exists)));
        TaskSocket = new Uri(bootstrap.RootElement.GetProperty("address").GetString()!).AbsolutePath;
        _client = await TtrpcClient.ConnectAsync(TaskSocket);
        Tasks = new TaskService.TaskClient(_client);
    }

    public override async ValueTask DisposeAsync()
    {
        if (_client is not null)
        {
            await _client.DisposeAsync();
        }
        await base.DisposeAsync();
    }

    internal static CallOptions In(string? containerdNamespace)
    {
        var headers = new Metadata();
        if (containerdNamespace is not null)
        {
            headers.Add(NamespaceHeader, containerdNamespace);
        }
        return new CallOptions(headers, DateTime.UtcNow + Within.Usual);
    }

    internal static CallOptions InDefault => In("default");

    /// <summary>State and exec of the bystander, and a new container, which takes the control socket.</summary>
    internal async Task OthersAreServedAsync()
    {
        Assert.Equal(ProcessStatus.Running, (await Bystander.Init.StateAsync()).Status);
        Assert.Equal(("fine\n", 0u), await Bystander.RunAsync("echo", "fine"));
        var fresh = await StartAsync("echo", "fine");
        Assert.Equal(0u, (await fresh.Init.WaitAsync()).ExitStatus);
        await fresh.DeleteTaskAsync();
    }
}
