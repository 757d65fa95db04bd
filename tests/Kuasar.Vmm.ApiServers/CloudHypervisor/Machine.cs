using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.Guests;
using Kuasar.Vmm.ApiServers.Http;

namespace Kuasar.Vmm.ApiServers.CloudHypervisor;

/// <summary>
/// Cloud Hypervisor's VM. State machine:
/// <code>
/// (none) --create--> Created --boot--> Running &lt;--pause/resume--> Paused
///   ^  \--restore--> Paused     ^         |  \--guest reset: boots again, in the same process
///   |                           +-shutdown+   \--guest powers off: the process ends with 0
///   +--------delete-------------+
/// </code>
/// What is asked for in the wrong state is answered by 404 (none) or 405. Calls hold the machine's lock.
/// </summary>
internal sealed partial class Machine(EventMonitor events, TaskCompletionSource<int> exit, Action hang)
{
    private enum State
    {
        Created,
        Running,
        Paused,
    }

    private static readonly string[] Kinds = ["disks", "net", "fs"];

    private JsonObject? _config;
    private State _state;
    private Guest? _guest;

    internal JsonObject Info()
    {
        var tree = new JsonObject();
        _guest?.Devices.ForEach(id => tree[id] = new JsonObject { ["id"] = id, ["pci_bdf"] = Bdf(id) });
        return new JsonObject
        {
            ["config"] = Config().DeepClone(), ["state"] = _state.ToString(), ["memory_actual_size"] = _guest?.MemoryBytes, ["device_tree"] = tree,
        };
    }

    internal void Create(JsonObject config)
    {
        if (_config is not null)
        {
            throw new ApiException(500, "VM is already created");
        }
        if (config["payload"]!["kernel"] is null && config["payload"]!["firmware"] is null)
        {
            throw new ApiException(400, "no kernel and no firmware");
        }
        if (config["fs"]?.AsArray().Count > 0 && config["memory"]?["shared"]?.GetValue<bool>() is not true)
        {
            throw new ApiException(400, "vhost-user needs shared memory");
        }
        if (config["cpus"] is { } cpus && cpus["boot_vcpus"]!.GetValue<int>() > cpus["max_vcpus"]!.GetValue<int>())
        {
            throw new ApiException(400, "boot_vcpus is above max_vcpus");
        }
        if (Console(config) is { } console)
        {
            // File::create: what an earlier VM wrote there is gone.
            File.WriteAllText(console, "");
        }
        _config = config;
        _state = State.Created;
    }

    internal void Boot()
    {
        var config = Config();
        if (_state != State.Created)
        {
            throw new ApiException(500, "VM is already created");
        }
        events.Write("vm", "booting");
        Start(config, restored: false);
        events.Write("vm", "booted");
    }

    internal void Pause()
    {
        Expect(State.Running);
        _state = State.Paused;
        _guest!.Gate.Open = false;
        events.Write("vm", "paused");
    }

    internal void Resume()
    {
        Expect(State.Paused);
        _state = State.Running;
        _guest!.Gate.Open = true;
        events.Write("vm", "resumed");
    }

    internal void Shutdown()
    {
        Expect(State.Running, State.Paused);
        _guest!.Dispose();
        _guest = null;
        _daemons.Values.ToList().ForEach(daemon => daemon.Dispose());
        _daemons.Clear();
        _state = State.Created;
        events.Write("vm", "shutdown");
    }

    internal void Delete()
    {
        if (_guest is not null)
        {
            Shutdown();
        }
        _config = null;
        events.Write("vm", "deleted");
    }

    internal void ShutdownVmm()
    {
        Delete();
        events.Write("vmm", "shutdown");
        exit.TrySetResult(0);
    }

    internal void Reboot()
    {
        events.Write("vm", "rebooting");
        Shutdown();
        Start(Config(), restored: false);
        events.Write("vm", "rebooted");
    }

    internal Action PressPowerButton()
    {
        Expect(State.Running);
        return _guest!.Deaf ? () => { } : ShutdownVmm;
    }

    private void Start(JsonObject config, bool restored)
    {
        // A restored guest has its kernel in its memory.
        string?[] files = [restored ? null : Text(config["payload"]?["kernel"]), restored ? null : Text(config["payload"]?["initramfs"]),
            .. List(config, "disks").Select(d => Text(d["path"])), .. List(config, "fs").Select(f => Text(f["socket"]))];
        if (files.FirstOrDefault(f => f is not null && !File.Exists(f)) is { } missing)
        {
            throw new ApiException(500, $"cannot open {missing}: No such file or directory");
        }
        _guest = new Guest(Console(config), new GuestHost(GuestEnded, hang))
        {
            Cpus = config["cpus"]?["boot_vcpus"]?.GetValue<int>() ?? 1, MemoryBytes = config["memory"]?["size"]?.GetValue<long>() ?? 512L << 20,
        };
        foreach (var kind in Kinds)
        {
            _guest.Devices.AddRange(List(config, kind).Select(d => Text(d["id"]) ?? $"_{kind}"));
        }
        foreach (var share in List(config, "fs"))
        {
            Attach(Text(share["id"])!, Text(share["socket"])!);
        }
        // A restored guest waits until it is resumed.
        _guest.Gate.Open = !restored;
        try
        {
            _guest.Start(Text(config["vsock"]?["socket"]), restored);
        }
        catch (System.Net.Sockets.SocketException taken)
        {
            _guest = null;
            throw new ApiException(500, $"vsock: {taken.Message}");
        }
        SendFrames();
        _state = State.Running;
    }

    private void GuestEnded(GuestEnd end)
    {
        lock (this)
        {
            if (end == GuestEnd.Panic && Config()["pvpanic"]?.GetValue<bool>() is true)
            {
                events.Write("guest", "panic", new JsonObject { ["event"] = "panic" });
            }
            if (end == GuestEnd.PowerOff)
            {
                ShutdownVmm();
                return;
            }
            try
            {
                Reboot();
            }
            catch (ApiException failed)
            {
                // The VMM's loop ends with the error.
                System.Console.Error.WriteLine($"VmReboot: {failed.Message}");
                exit.TrySetResult(1);
            }
        }
    }

    private JsonObject Config() => _config ?? throw new ApiException(404, "VM is not created");

    private void Expect(params State[] states)
    {
        Config();
        if (!states.Contains(_state))
        {
            throw new ApiException(405, $"VM is {_state}");
        }
    }

    private static string? Console(JsonObject config) =>
        Text(config["serial"]?["mode"]) == "File" ? Text(config["serial"]!["file"]) : null;

    private static IEnumerable<JsonObject> List(JsonObject config, string kind) =>
        config[kind]?.AsArray().Select(node => node!.AsObject()) ?? [];

    private static string? Text(JsonNode? node) => node?.GetValue<string>();

    private string Bdf(string id) => $"0000:00:{_guest!.Devices.IndexOf(id) + 1:x2}.0";
}
