using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Guests;
using Kuasar.Vmm.ApiServers.Http;

namespace Kuasar.Vmm.ApiServers.Firecracker;

/// <summary>
/// Firecracker's microVM. State machine:
/// <code>
/// Not started --InstanceStart--> Running &lt;--PATCH /vm--> Paused
///      \--snapshot/load (nothing configured before)--------^
/// Running --guest resets--> the process ends with 0 (there is no power-off, and a panic resets)
/// </code>
/// Calls hold its lock.
/// </summary>
internal sealed partial class MicroVm(bool pci, string id, TaskCompletionSource<int> exit, Action hang)
{
    private enum State
    {
        NotStarted,
        Running,
        Paused,
    }

    private static readonly HttpResponse NoContent = new(204);

    private readonly Dictionary<string, JsonObject> _drives = [], _interfaces = [];
    private JsonObject? _bootSource, _machine, _vsock, _serial, _hotplugMemory;
    private HybridVsockPath? _bound;
    private State _state;
    private Guest? _guest;

    // What `configured` asks: a snapshot can only be loaded into a process that knows of no VM.
    private bool Configured => _bootSource is not null || _machine is not null || _vsock is not null || _drives.Count + _interfaces.Count > 0;

    internal HttpResponse Act(string method, string path, JsonObject body)
    {
        switch (method, path)
        {
            case ("GET", "/"):
                return Ok(new JsonObject
                {
                    ["app_name"] = "Firecracker", ["id"] = id, ["state"] = _state == State.NotStarted ? "Not started" : _state.ToString(),
                    ["vmm_version"] = "1.17.0-dev",
                });
            case ("GET", "/version"):
                return Ok(new JsonObject { ["firecracker_version"] = "1.17.0-dev" });
            case ("GET", "/hotplug/memory"):
                return Ok(MemoryStatus());
            case ("PUT", "/actions"):
                return Action(Text(body["action_type"])!);
            case ("PATCH", "/vm"):
                SetState(Text(body["state"])!);
                return NoContent;
            case ("PUT", "/snapshot/create"):
                CreateSnapshot(body);
                return NoContent;
            case ("PUT", "/snapshot/load"):
                LoadSnapshot(body);
                return NoContent;
            case ("PATCH", "/hotplug/memory"):
                ResizeMemory(body["requested_size_mib"]!.GetValue<long>());
                return NoContent;
        }
        if (path.StartsWith("/drives/", StringComparison.Ordinal) || path.StartsWith("/network-interfaces/", StringComparison.Ordinal))
        {
            Device(method, path, body);
            return NoContent;
        }
        Configure(path, body);
        return NoContent;
    }

    private void Configure(string path, JsonObject body)
    {
        Expect(before: true);
        switch (path)
        {
            case "/boot-source":
                MustExist(Text(body["kernel_image_path"])!);
                if (Text(body["initrd_path"]) is { } initrd)
                {
                    MustExist(initrd);
                }
                _bootSource = body;
                break;
            case "/machine-config":
                if (body["vcpu_count"]!.GetValue<int>() is < 1 or > 32)
                {
                    throw new ApiException(400, "The vCPU number is invalid! The vCPU number can only be 1 or an even number when SMT is enabled.");
                }
                _machine = body;
                break;
            case "/vsock":
                _bound?.Dispose();
                _bound = HybridVsockPath.Reserve(Text(body["uds_path"])!);
                _vsock = body;
                break;
            case "/serial":
                _serial = body;
                break;
            case "/hotplug/memory":
                _hotplugMemory = body;
                break;
            case "/entropy":
                break;
            default:
                throw new ApiException(400, $"Invalid request method and/or path: {path}.");
        }
    }

    private HttpResponse Action(string action)
    {
        switch (action)
        {
            case "InstanceStart":
                Expect(before: true);
                if (_bootSource is null)
                {
                    throw new ApiException(400, "Cannot start microvm without kernel configuration.");
                }
                Start(restored: false);
                return NoContent;
            case "SendCtrlAltDel":
                Expect(before: false);
                return NoContent with { After = () => _guest!.CtrlAltDel() };
            default:
                Expect(before: false);
                return NoContent;
        }
    }

    private void Start(bool restored)
    {
        _guest = new Guest(Text(_serial?["serial_out_path"]), new GuestHost(_ => exit.TrySetResult(0), hang))
        {
            Cpus = _machine?["vcpu_count"]?.GetValue<int>() ?? 1, MemoryBytes = (_machine?["mem_size_mib"]?.GetValue<long>() ?? 128) << 20,
        };
        _guest.Devices.AddRange(_drives.Keys.Concat(_interfaces.Keys));
        _guest.Gate.Open = !restored;
        _bound?.Dispose();
        _guest.Start(Text(_vsock?["uds_path"]), restored);
        _state = restored ? State.Paused : State.Running;
    }

    private void SetState(string state)
    {
        Expect(before: false);
        _state = state == "Paused" ? State.Paused : State.Running;
        _guest!.Gate.Open = _state == State.Running;
    }

    private void Expect(bool before)
    {
        if (before != (_state == State.NotStarted))
        {
            throw new ApiException(400, $"The requested operation is not supported {(before ? "after" : "before")} starting the microVM.");
        }
    }

    private static void MustExist(string path)
    {
        if (!File.Exists(path))
        {
            throw new ApiException(400, $"{path}: No such file or directory (os error 2)");
        }
    }

    private static HttpResponse Ok(JsonObject body) => new(200, body.ToJsonString());

    private static string? Text(JsonNode? node) => node?.GetValue<string>();
}
