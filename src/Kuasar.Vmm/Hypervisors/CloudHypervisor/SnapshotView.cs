using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors;

/// <summary>
/// A snapshot as a new machine is to see it. Cloud Hypervisor restores from a folder of config.json, state.json and memory-ranges, and takes the
/// paths of sockets, taps and files from the first; so the machine's folder gets one with a config.json of its own, and links to the rest.
/// </summary>
internal static class SnapshotView
{
    private const string ConfigName = "config.json";
    private static readonly string[] s_linked = ["state.json", "memory-ranges"];

    /// <summary>Makes the folder.</summary>
    /// <exception cref="VmException">InvalidConfig: it is no snapshot, or one of a machine with other devices.</exception>
    internal static void Create(string snapshot, string folder, VmConfig config, string kernel, string vsock)
    {
        var saved = Read(Path.Combine(snapshot, ConfigName));
        Adapt(saved, config, kernel, vsock);
        Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        File.WriteAllText(Path.Combine(folder, ConfigName), saved.ToJsonString());
        foreach (var name in s_linked)
        {
            VmConfig.RequireFile("snapshot's file", Path.Combine(snapshot, name));
            File.CreateSymbolicLink(Path.Combine(folder, name), Path.Combine(snapshot, name));
        }
    }

    internal static void Adapt(JsonObject saved, VmConfig config, string kernel, string vsock)
    {
        AdaptDevices(saved, "disks", config.Disks, (device, disk) => device["path"] = disk.Path);
        AdaptDevices(saved, "net", config.Nets, (device, net) => device["tap"] = net.TapName);
        AdaptDevices(saved, "fs", config.FileSystems, (_, _) => { });
        if (saved["payload"] is JsonObject payload)
        {
            payload["kernel"] = kernel;
        }
        VmConfig.Require(saved["vsock"] is JsonObject == config.Vsock is not null, "the saved machine and this one differ in vsock");
        if (saved["vsock"] is JsonObject device)
        {
            device["socket"] = vsock;
        }
        saved["serial"] = config.ConsoleLog is { } log ? new JsonObject { ["mode"] = "File", ["file"] = log } : new JsonObject { ["mode"] = "Null" };
    }

    private static void AdaptDevices<T>(JsonObject saved, string kind, IReadOnlyList<T> devices, Action<JsonObject, T> adapt)
        where T : VmDevice
    {
        var found = (saved[kind] as JsonArray ?? []).OfType<JsonObject>().ToDictionary(device => device["id"]?.GetValue<string>() ?? "");
        VmConfig.Require(found.Count == devices.Count, $"the saved machine had {found.Count} of {kind}, and this one has {devices.Count}");
        foreach (var device in devices)
        {
            VmConfig.Require(found.ContainsKey(device.Id), $"the saved machine had no {device.Id}");
            adapt(found[device.Id], device);
        }
    }

    private static JsonObject Read(string path)
    {
        VmConfig.RequireFile("snapshot's file", path);
        try
        {
            return JsonNode.Parse(File.ReadAllBytes(path)) as JsonObject ?? throw new JsonException("no object");
        }
        catch (JsonException e)
        {
            throw new VmException(VmError.InvalidConfig, $"{path}: {e.Message}", e);
        }
    }
}
