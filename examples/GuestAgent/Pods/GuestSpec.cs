using System.Text.Json.Nodes;

namespace GuestAgent.Pods;

/// <summary>
/// Fits a spec that was made for the host to this guest, where the host has not done so: the pod's namespaces are the guest's, and cgroups are
/// the guest's own.
/// </summary>
internal sealed class GuestSpec(PodNamespaces pod)
{
    /// <summary>Whether anything was to be changed.</summary>
    internal bool Adapt(JsonObject spec, string id)
    {
        if (spec["linux"] is not JsonObject linux)
        {
            return false;
        }
        return AdaptNamespaces(linux) | AdaptCgroup(linux, id) | AdaptHostName(spec, linux);
    }

    /// <summary>A runtime would give the container's name to the namespace, and so to the whole pod.</summary>
    private static bool AdaptHostName(JsonObject spec, JsonObject linux) =>
        (linux["namespaces"] as JsonArray)?.Any(entry => Text(entry?["type"]) == "uts" && !string.IsNullOrEmpty(Text(entry!["path"]))) == true &&
        spec.Remove("hostname");

    private bool AdaptNamespaces(JsonObject linux)
    {
        var changed = false;
        foreach (var entry in (linux["namespaces"] as JsonArray)?.OfType<JsonObject>().ToList() ?? [])
        {
            var (type, path) = (Text(entry["type"]), Text(entry["path"]));
            // One with a path is shared with somebody: in here that is the pod. The guest's network is the pod's whatever the spec says.
            if (type is null || (type != "network" && (string.IsNullOrEmpty(path) || path.StartsWith(pod.Folder + "/", StringComparison.Ordinal))))
            {
                continue;
            }
            changed = true;
            if (type != "network" && pod.PathOf(type) is { } own)
            {
                entry["path"] = own;
            }
            else
            {
                entry.Parent!.AsArray().Remove(entry);
            }
        }
        return changed;
    }

    /// <summary>A path in systemd's form, or none, is of no use without systemd.</summary>
    private static bool AdaptCgroup(JsonObject linux, string id)
    {
        if (Text(linux["cgroupsPath"]) is { Length: > 1 } path && path.StartsWith('/') && !path.Contains(':', StringComparison.Ordinal))
        {
            return false;
        }
        linux["cgroupsPath"] = "/kuasar/" + id;
        return true;
    }

    private static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
}
