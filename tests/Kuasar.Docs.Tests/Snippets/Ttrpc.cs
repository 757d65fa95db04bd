using Grpc.Core;
using Grpc.Core.Interceptors;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Docs.Tests.Snippets;

internal static class Ttrpc
{
    internal static async Task ServeAndCallAsync()
    {
        var stop = CancellationToken.None;
        // Server: bind generated services, then serve any number of sockets.
        await using var source = UnixConnectionSource.Bind("unix:///run/demo/demo.sock");   // mode 0600, same user only
        await using var server = new TtrpcServer();
        Control.BindService(server.Services, new DemoControl());
        var serving = server.ServeAsync(source, stop);

        // Client: a CallInvoker, so the generated client needs nothing else.
        await using var client = await TtrpcClient.ConnectAsync("unix:///run/demo/demo.sock");
        var control = new Control.ControlClient(client);
        var reply = await control.InfoAsync(new InfoRequest(), deadline: DateTime.UtcNow.AddSeconds(5));

        await server.StopAsync(drain: TimeSpan.FromSeconds(5));
        await serving;
    }

    internal static void Intercept(TtrpcServer server)
    {
        Control.BindService(server.Services.Intercept(new Authorize(), new Audit()), new DemoControl());
    }

    private sealed class Authorize : Interceptor;

    private sealed class Audit : Interceptor;

    private sealed class DemoControl : Control.ControlBase
    {
        public override Task<InfoResponse> Info(InfoRequest request, ServerCallContext context) => Task.FromResult(new InfoResponse());
    }
}
