using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Http;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.ApiServers.CloudHypervisor;

/// <summary>Which request does what to the machine.</summary>
internal static class Routes
{
    private static readonly HttpResponse NoContent = new(204);

    internal static HttpResponse Act(Machine machine, string path, JsonObject body, IReadOnlyList<SafeFileHandle> files)
    {
        switch (path)
        {
            case "/vmm.ping":
                return Ok(new JsonObject
                {
                    ["build_version"] = "v54.0.0", ["version"] = "54.0.0", ["pid"] = Environment.ProcessId, ["features"] = new JsonArray("kvm"),
                });
            case "/vm.info":
                return Ok(machine.Info());
            case "/vmm.shutdown":
                return NoContent with { After = machine.ShutdownVmm };
            case "/vm.add-disk":
            case "/vm.add-net":
            case "/vm.add-fs":
                return machine.Add(path["/vm.add-".Length..], body, files) is { } device ? Ok(device) : NoContent;
        }
        switch (path)
        {
            case "/vm.create":
                machine.Create(body);
                break;
            case "/vm.delete":
                machine.Delete();
                break;
            case "/vm.boot":
                machine.Boot();
                break;
            case "/vm.pause":
                machine.Pause();
                break;
            case "/vm.resume":
                machine.Resume();
                break;
            case "/vm.shutdown":
                machine.Shutdown();
                break;
            case "/vm.reboot":
                machine.Reboot();
                break;
            case "/vm.power-button":
                return NoContent with { After = machine.PressPowerButton() };
            case "/vm.resize":
                machine.Resize(body);
                break;
            case "/vm.remove-device":
                machine.Remove(body["id"]!.GetValue<string>());
                break;
            case "/vm.snapshot":
                machine.Snapshot(Folder(body, "destination_url"));
                break;
            case "/vm.restore":
                machine.Restore(Folder(body, "source_url"), body["resume"]?.GetValue<bool>() ?? false);
                break;
            default:
                throw new ApiException(404, path);
        }
        return NoContent;
    }

    private static HttpResponse Ok(JsonObject body) => new(200, body.ToJsonString());

    private static string Folder(JsonObject body, string field)
    {
        var url = body[field]!.GetValue<string>();
        return url.StartsWith("file://", StringComparison.Ordinal) ? url[7..] : throw new ApiException(500, $"not a file URL: {url}");
    }
}
