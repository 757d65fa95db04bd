using System.Net.Sockets;
using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Guests;
using Kuasar.Vmm.ApiServers.Http;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.ApiServers.CloudHypervisor;

internal sealed partial class Machine
{
    private static readonly string[] SnapshotFiles = ["config.json", "state.json", "memory-ranges"];

    private readonly Dictionary<string, Socket> _daemons = [];
    private readonly List<SafeFileHandle> _taps = [];
    private int _nextId;

    // A guest's first frame on each tap that was handed over.
    private void SendFrames()
    {
        foreach (var tap in _taps)
        {
            using var frames = new FileStream(tap, FileAccess.Write, bufferSize: 0);
            frames.Write("a frame of the guest's\n"u8);
        }
        _taps.Clear();
    }

    // A vhost-user daemon serves one connection, and ends with it. One that does not listen yet is tried for a minute; here for a second.
    private void Attach(string id, string path)
    {
        for (var i = 0; ; i++)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint(path));
                _daemons[id] = socket;
                return;
            }
            catch (SocketException) when (i < 10)
            {
                socket.Dispose();
                Thread.Sleep(100);
            }
            catch (SocketException e)
            {
                socket.Dispose();
                throw new ApiException(500, $"cannot connect to {path}: {e.Message}");
            }
        }
    }

    /// <summary>Adds a device; where the guest can find it, or null when there is no guest yet.</summary>
    internal JsonObject? Add(string kind, JsonObject device, IReadOnlyList<SafeFileHandle> files)
    {
        var config = Config();
        var list = kind == "disk" ? "disks" : kind;
        device["id"] ??= $"_{kind}{_nextId++}";
        var id = Text(device["id"])!;
        if (Kinds.SelectMany(k => List(config, k)).Any(d => Text(d["id"]) == id))
        {
            throw new ApiException(409, $"identifier {id} is not unique");
        }
        if (kind == "net" && files.Count == 0 && device["tap"] is null)
        {
            // It would make a tap of its own, which is never what a manager wants.
            throw new ApiException(400, $"{id} has no tap");
        }
        _taps.AddRange(files);
        if (kind == "fs" && config["memory"]?["shared"]?.GetValue<bool>() is not true)
        {
            throw new ApiException(400, "vhost-user needs shared memory");
        }
        if (_guest is not null && Text(device[kind == "disk" ? "path" : "socket"]) is { } file && !File.Exists(file))
        {
            throw new ApiException(500, $"cannot open {file}: No such file or directory");
        }
        if (_guest is not null && kind == "fs")
        {
            Attach(id, Text(device["socket"])!);
        }
        config[list] ??= new JsonArray();
        config[list]!.AsArray().Add(device.DeepClone());
        if (_guest is null)
        {
            return null;
        }
        SendFrames();
        _guest.Devices.Add(id);
        return new JsonObject { ["id"] = id, ["bdf"] = Bdf(id) };
    }

    /// <summary>Asks the guest to give the device back; it is gone when the guest has.</summary>
    internal void Remove(string id)
    {
        var config = Config();
        var device = Kinds.SelectMany(k => List(config, k)).FirstOrDefault(d => Text(d["id"]) == id)
            ?? throw new ApiException(404, $"no device {id}");
        device.Parent!.AsArray().Remove(device);
        if (_guest is { } guest)
        {
            _ = EjectAsync(guest, id);
        }
    }

    private async Task EjectAsync(Guest guest, string id)
    {
        await Task.Delay(50);
        await guest.Gate.PassAsync();
        lock (this)
        {
            guest.Devices.Remove(id);
            if (_daemons.Remove(id, out var daemon))
            {
                daemon.Dispose();
            }
        }
        events.Write("vm", "device-removed", new JsonObject { ["id"] = id });
    }

    internal void Resize(JsonObject size)
    {
        var config = Config();
        var guest = _guest ?? throw new ApiException(500, "VM is not running");
        if (size["desired_vcpus"]?.GetValue<int>() is { } cpus)
        {
            guest.Cpus = cpus >= 1 && cpus <= config["cpus"]!["max_vcpus"]!.GetValue<int>()
                ? cpus : throw new ApiException(500, $"{cpus} is above max_vcpus");
        }
        if (size["desired_ram"]?.GetValue<long>() is { } bytes)
        {
            var initial = config["memory"]!["size"]!.GetValue<long>();
            var spare = config["memory"]!["hotplug_size"]?.GetValue<long>() ?? 0;
            guest.MemoryBytes = bytes >= initial && bytes <= initial + spare ? bytes : throw new ApiException(500, $"no room for {bytes} bytes");
        }
    }

    internal void Snapshot(string folder)
    {
        Expect(State.Paused);
        if (!Directory.Exists(folder))
        {
            throw new ApiException(500, $"{folder}: No such file or directory");
        }
        File.WriteAllText(Path.Combine(folder, "config.json"), Config().ToJsonString());
        File.WriteAllText(Path.Combine(folder, "state.json"), _guest!.Save().ToJsonString());
        File.WriteAllBytes(Path.Combine(folder, "memory-ranges"), new byte[4096]);
    }

    internal void Restore(string folder, bool resume)
    {
        if (_config is not null)
        {
            throw new ApiException(404, "VM is already created");
        }
        foreach (var name in SnapshotFiles)
        {
            if (!File.Exists(Path.Combine(folder, name)))
            {
                throw new ApiException(400, $"{folder} is no snapshot: {name} is missing");
            }
        }
        _config = JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "config.json")))!.AsObject();
        events.Write("vm", "restoring");
        if (Console(_config) is { } console)
        {
            File.WriteAllText(console, "");
        }
        Start(_config, restored: true);
        _guest!.Load(JsonNode.Parse(File.ReadAllText(Path.Combine(folder, "state.json")))!.AsObject());
        _guest.Gate.Open = resume;
        _state = resume ? State.Running : State.Paused;
        events.Write("vm", "restored");
    }
}
