using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Http;

namespace Kuasar.Vmm.ApiServers.Firecracker;

internal sealed partial class MicroVm
{
    private void Device(string method, string path, JsonObject body)
    {
        var name = path[(path.LastIndexOf('/') + 1)..];
        if (!name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_'))
        {
            throw new ApiException(400, "API Resource IDs can only contain alphanumeric characters and underscores.");
        }
        var (list, idField) = path.StartsWith("/drives/", StringComparison.Ordinal) ? (_drives, "drive_id") : (_interfaces, "iface_id");
        if (method == "DELETE")
        {
            Unplug(list, name);
            return;
        }
        if (Text(body[idField]) != name)
        {
            throw new ApiException(400, $"The id from the path [{name}] does not match the id from the body [{body[idField]}]!");
        }
        if (Text(body["path_on_host"]) is { } file)
        {
            MustExist(file);
        }
        if (_guest is not null)
        {
            if (!pci)
            {
                throw new ApiException(400, "PCI is not enabled");
            }
            if (_guest.Devices.Contains(name))
            {
                throw new ApiException(400, "Device ID in use");
            }
            _guest.Devices.Add(name);
        }
        list[name] = body;
    }

    private void Unplug(Dictionary<string, JsonObject> list, string name)
    {
        Expect(before: false);
        if (!pci)
        {
            throw new ApiException(400, "PCI is not enabled");
        }
        if (!list.Remove(name))
        {
            throw new ApiException(400, "Device not found");
        }
        _guest!.Devices.Remove(name);
    }

    private JsonObject MemoryStatus()
    {
        Expect(before: false);
        var config = _hotplugMemory ?? throw new ApiException(400, "Device not found");
        return new JsonObject
        {
            ["total_size_mib"] = config["total_size_mib"]!.GetValue<long>(), ["slot_size_mib"] = 128, ["block_size_mib"] = 2,
            ["plugged_size_mib"] = PluggedMib, ["requested_size_mib"] = PluggedMib,
        };
    }

    private long PluggedMib => (_guest!.MemoryBytes >> 20) - (_machine?["mem_size_mib"]?.GetValue<long>() ?? 128);

    private void ResizeMemory(long mib)
    {
        Expect(before: false);
        if (_hotplugMemory is null || mib > _hotplugMemory["total_size_mib"]!.GetValue<long>())
        {
            throw new ApiException(400, $"no room for {mib} MiB");
        }
        _guest!.MemoryBytes = ((_machine?["mem_size_mib"]?.GetValue<long>() ?? 128) + mib) << 20;
    }

    private void CreateSnapshot(JsonObject body)
    {
        Expect(before: false);
        if (_state != State.Paused)
        {
            throw new ApiException(400, "Create snapshot error: the microVM is not paused");
        }
        var saved = _guest!.Save();
        saved["drives"] = new JsonObject(_drives.Select(d => KeyValuePair.Create(d.Key, (JsonNode?)d.Value.DeepClone())));
        saved["interfaces"] = new JsonObject(_interfaces.Select(d => KeyValuePair.Create(d.Key, (JsonNode?)d.Value.DeepClone())));
        saved["vsock"] = _vsock?.DeepClone();
        saved["machine"] = _machine?.DeepClone();
        File.WriteAllText(Text(body["snapshot_path"])!, saved.ToJsonString());
        File.WriteAllBytes(Text(body["mem_file_path"])!, new byte[4096]);
        // The device is reset, so that guest and host agree that nothing is open.
        _guest.ResetDevices();
    }

    private void LoadSnapshot(JsonObject body)
    {
        Expect(before: true);
        if (Configured)
        {
            throw new ApiException(400, "Load snapshot error: Loading a microVM snapshot not allowed after configuring boot-specific resources.");
        }
        MustExist(Text(body["snapshot_path"])!);
        MustExist(Text(body["mem_backend"]!["backend_path"])!);
        var saved = JsonNode.Parse(File.ReadAllText(Text(body["snapshot_path"])!))!.AsObject();
        foreach (var (name, drive) in saved["drives"]!.AsObject())
        {
            MustExist(Text(drive!["path_on_host"])!);
            _drives[name] = drive.DeepClone().AsObject();
        }
        foreach (var (name, net) in saved["interfaces"]!.AsObject())
        {
            _interfaces[name] = net!.DeepClone().AsObject();
        }
        _machine = saved["machine"]?.DeepClone().AsObject();
        _vsock = saved["vsock"]?.DeepClone().AsObject();
        if (body["vsock_override"] is { } other && _vsock is not null)
        {
            _vsock["uds_path"] = Text(other["uds_path"]);
        }
        try
        {
            Start(restored: true);
        }
        catch (System.Net.Sockets.SocketException taken)
        {
            // A restore that fails leaves the process good for nothing.
            exit.TrySetResult(1);
            throw new ApiException(400, $"Load snapshot error: vsock: {taken.Message}");
        }
        _guest!.Load(saved);
        if (body["resume_vm"]?.GetValue<bool>() is true)
        {
            SetState("Resumed");
        }
    }
}
