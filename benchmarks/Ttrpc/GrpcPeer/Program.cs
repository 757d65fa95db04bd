// One end of a measured connection of grpc-dotnet, as Peer is of ours:
//
//   grpc-peer serve SOCKET            prints "ready", ends with its stdin
//   grpc-peer call SOCKET WORKLOAD    prints a line of JSON
using System.Net.Sockets;
using Grpc.Net.Client;
using Kuasar.Benchmarks.Load;
using Microsoft.AspNetCore.Server.Kestrel.Core;

switch (args)
{
    case ["serve", var socket]:
        await ServeAsync(socket);
        return 0;
    case ["call", var socket, .. var words]:
        await CallAsync(socket, Workload.Parse(words));
        return 0;
    default:
        await Console.Error.WriteLineAsync("usage: grpc-peer serve SOCKET | grpc-peer call SOCKET WORKLOAD");
        return 2;
}

static async Task ServeAsync(string socket)
{
    var builder = WebApplication.CreateSlimBuilder();
    builder.Logging.ClearProviders();
    builder.Services.AddGrpc();
    builder.Services.AddSingleton<BenchService>();
    builder.WebHost.ConfigureKestrel(options =>
    {
        // The default of 100 would make 512 callers wait for each other.
        options.Limits.Http2.MaxStreamsPerConnection = 1024;
        options.ListenUnixSocket(socket, listen => listen.Protocols = HttpProtocols.Http2);
    });
    await using var app = builder.Build();
    app.MapGrpcService<BenchService>();
    await app.StartAsync();
    await Ready.UntilStdinEndsAsync();
}

static async Task CallAsync(string socket, Workload workload)
{
    using var handler = new SocketsHttpHandler { ConnectCallback = ConnectAsync };
    using var channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions { HttpHandler = handler });
    await StubTraffic.RunAsync(channel.CreateCallInvoker(), workload);

    async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await connection.ConnectAsync(new UnixDomainSocketEndPoint(socket), cancellationToken);
            return new NetworkStream(connection, ownsSocket: true);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }
}
