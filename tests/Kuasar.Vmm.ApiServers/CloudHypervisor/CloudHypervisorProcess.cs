using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Http;
using Kuasar.Vmm.ApiServers.OpenApi;

namespace Kuasar.Vmm.ApiServers.CloudHypervisor;

/// <summary>
/// A process with Cloud Hypervisor's options and API. <c>--codes as-built</c> makes it answer as version 54 does instead of as its OpenAPI file
/// says: 500 where the VM is in the wrong state.
/// </summary>
internal static class CloudHypervisorProcess
{
    internal static async Task<int> RunAsync(string[] args)
    {
        var exit = new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously);
        var events = new EventMonitor(args.Path("--event-monitor"));
        events.Write("vmm", "starting");
        HttpServer? http = null;
        var machine = new Machine(events, exit, hang: () => http!.Hung = true);
        var asBuilt = args.Value("--codes") == "as-built";
        var api = new ApiDispatcher(
            CloudHypervisorTable.Table,
            CloudHypervisorTable.Prefix,
            (request, path, body) =>
            {
                lock (machine)
                {
                    return Routes.Act(machine, path, body, request.Files);
                }
            },
            // Version 54 has a list, from the outermost error to its cause.
            message => new JsonArray("Error from API", message).ToJsonString());
        http = new HttpServer(args.Path("--api-socket")!, "Cloud Hypervisor API", request =>
        {
            var response = api.Handle(request);
            return asBuilt && response.Status == 405 ? response with { Status = 500 } : response;
        });
        return await await Task.WhenAny(exit.Task, ServeAsync(http));
    }

    private static async Task<int> ServeAsync(HttpServer http)
    {
        await http.RunAsync();
        return 1;
    }
}
