using System.Net.Sockets;
using Demo;
using Grpc.Core;
using Kuasar.Protocol;

namespace Kuasar.Docs.Tests.Snippets;

/// <summary>The samples of docs/ttrpc.md. Server and client run in TtrpcGuideTests.</summary>
internal static class TtrpcGuide
{
    internal static async Task ServerAsync(string[] args, CancellationToken stop)
    {
        var address = args[0]; // unix:///run/user/1000/greeter.sock

        await using var source = UnixConnectionSource.Bind(address); // mode 0600; our own user and group only
        await using var server = new TtrpcServer();
        Greeter.BindService(server.Services, new GreeterService());

        await server.ServeAsync(source, stop); // until the token is cancelled
        await server.StopAsync(drain: TimeSpan.FromSeconds(5)); // calls under way still get their answers
    }

    internal static async Task ClientAsync(string[] args)
    {
        var address = args[0];

        await using var client = await TtrpcClient.ConnectAsync(address);
        var greeter = new Greeter.GreeterClient(client);

        var reply = await greeter.GreetAsync(new GreetRequest { Name = "world" }, deadline: DateTime.UtcNow.AddSeconds(5));
        Console.WriteLine(reply.Text);

        using var count = greeter.Count(new CountRequest { To = 3 });
        while (await count.ResponseStream.MoveNext(default))
        {
            Console.WriteLine(count.ResponseStream.Current.Number);
        }
    }

    internal static async Task VsockAsync(Socket socket)
    {
        await using var client = new TtrpcClient(Connection.FromSocket(socket));
        await new Greeter.GreeterClient(client).GreetAsync(new GreetRequest());
    }

    internal static async Task PluginAsync(Socket socket, TtrpcServer server, CancellationToken stop)
    {
        await using var multiplexer = new Multiplexer(Connection.FromSocket(socket));
        var serving = server.ServeAsync(multiplexer.Open(Multiplexer.NriPluginService), stop);
        await using var runtime = new TtrpcClient(multiplexer.Open(Multiplexer.NriRuntimeService));
        multiplexer.Start(); // from here on containerd may call
        await new Greeter.GreeterClient(runtime).GreetAsync(new GreetRequest(), cancellationToken: stop);
        await serving;
    }

    internal static async Task PoliciesAsync(string address)
    {
        var source = UnixConnectionSource.Bind(address, new UnixSocketOptions { PeerPolicy = PeerPolicy.Match(1000, null) });
        var client = await TtrpcClient.ConnectAsync(address, new TtrpcClientOptions { PeerPolicy = PeerPolicy.Root });
        await client.DisposeAsync();
        await source.DisposeAsync();
    }

    sealed class GreeterService : Greeter.GreeterBase
    {
        public override Task<GreetReply> Greet(GreetRequest request, ServerCallContext context) =>
            Task.FromResult(new GreetReply { Text = $"Hello, {request.Name}" });

        public override async Task Count(
            CountRequest request, IServerStreamWriter<CountReply> responseStream, ServerCallContext context)
        {
            for (var i = 1; i <= request.To; i++)
            {
                await responseStream.WriteAsync(new CountReply { Number = i });
            }
        }
    }
}
