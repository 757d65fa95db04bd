using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>What QEMU has told by itself. Thread-safe.</summary>
/// <param name="onStop">The vcpus have stopped unasked; called where events are read, so it must not wait.</param>
internal sealed class QmpEvents(Action onStop)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, TaskCompletionSource> _unplugs = [];
    private bool _expectsStop;

    /// <summary>Why it ends, by its own words; null: it has not said.</summary>
    internal VmExitReason? Reason { get; private set; }

    /// <summary>Its own words.</summary>
    internal string? Words { get; private set; }

    internal void ExpectStop(bool value)
    {
        lock (_lock)
        {
            _expectsStop = value;
        }
    }

    /// <summary>Completes when QEMU has let go of a device; fails when the guest refuses to. To be called before it is asked for.</summary>
    internal Task UnplugOf(string id)
    {
        lock (_lock)
        {
            return (_unplugs[id] = new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
    }

    /// <summary>Nobody waits any more.</summary>
    internal void ForgetUnplug(string id)
    {
        lock (_lock)
        {
            _unplugs.Remove(id);
        }
    }

    internal void Take(string name, JsonObject data)
    {
        var isUnasked = false;
        lock (_lock)
        {
            switch (name)
            {
                case "SHUTDOWN":
                    Shutdown(data["reason"]?.GetValue<string>() ?? "no reason");
                    break;
                case "GUEST_PANICKED":
                    (Reason, Words) = (VmExitReason.GuestPanic, "the guest's kernel has panicked");
                    break;
                case "STOP":
                    isUnasked = !_expectsStop;
                    break;
                // Its backend has an event of its own, without this name.
                case "DEVICE_DELETED" when data["device"]?.GetValue<string>() is { } id && _unplugs.TryGetValue(id, out var unplug):
                    unplug.TrySetResult();
                    break;
                case "DEVICE_UNPLUG_GUEST_ERROR" when data["device"]?.GetValue<string>() is { } id && _unplugs.TryGetValue(id, out var unplug):
                    unplug.TrySetException(new VmException(VmError.Refused, "the guest does not let go of the device"));
                    break;
            }
        }
        if (isUnasked)
        {
            onStop();
        }
    }

    // What was said first is the cause.
    private void Shutdown(string reason)
    {
        Words ??= reason;
        Reason ??= reason switch
        {
            "guest-shutdown" => VmExitReason.GuestShutdown,
            "guest-reset" => VmExitReason.GuestReset,
            "guest-panic" => VmExitReason.GuestPanic,
            "host-qmp-quit" or "host-signal" or "host-ui" => VmExitReason.Killed,
            _ => VmExitReason.HypervisorFailed,
        };
    }
}
