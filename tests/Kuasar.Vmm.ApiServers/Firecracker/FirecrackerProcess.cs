using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Http;
using Kuasar.Vmm.ApiServers.OpenApi;

namespace Kuasar.Vmm.ApiServers.Firecracker;

/// <summary>A process with Firecracker's options and API.</summary>
internal static class FirecrackerProcess
{
    internal static async Task<int> RunAsync(string[] args)
    {
        var exit = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        HttpServer? http = null;
        var machine = new MicroVm(args.Contains("--enable-pci"), args.Value("--id") ?? "anonymous-instance", exit, hang: () => http!.Hung = true);
        var api = new ApiDispatcher(
            FirecrackerTable.Table,
            "",
            (request, path, body) =>
            {
                lock (machine)
                {
                    return machine.Act(request.Method, path, body);
                }
            },
            message => new JsonObject { ["fault_message"] = message }.ToJsonString());
        http = new HttpServer(args.Value("--api-sock")!, "Firecracker API", request =>
        {
            var response = api.Handle(request);
            // Firecracker knows one code for all that is the client's fault.
            return response.Status == 404 ? response with { Status = 400 } : response;
        });
        return await await Task.WhenAny(exit.Task, ServeAsync(http));
    }

    private static async Task<int> ServeAsync(HttpServer http)
    {
        await http.RunAsync();
        return 1;
    }
}
