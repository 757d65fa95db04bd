using System.Text.Json;
using System.Text.Json.Nodes;
using Kuasar.Sandbox;

namespace GuestAgent.Pods;

/// <summary>
/// What of CRI's PodSandboxConfig matters in the guest. It comes as JSON, with names as a Rust program writes them (<c>security_context</c>) or as
/// protobuf does (<c>securityContext</c>).
/// </summary>
/// <param name="HostName">Empty: not to be set.</param>
/// <param name="Sysctls">By their dotted names.</param>
/// <param name="SharesProcesses">Whether its containers share a pid namespace.</param>
internal sealed record PodConfig(string HostName, IReadOnlyDictionary<string, string> Sysctls, bool SharesProcesses)
{
    internal static PodConfig None { get; } = new("", new Dictionary<string, string>(), false);

    /// <exception cref="SandboxException">InvalidArgument: it is no JSON object.</exception>
    internal static PodConfig Parse(ReadOnlySpan<byte> json)
    {
        JsonObject? pod;
        try
        {
            pod = JsonNode.Parse(json) as JsonObject;
        }
        catch (JsonException e)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the pod's configuration is no JSON: {e.Message}", e);
        }
        if (pod is null)
        {
            throw new SandboxException(SandboxError.InvalidArgument, "the pod's configuration is no JSON object");
        }
        var linux = Member(pod, "linux");
        var options = Member(Member(linux, "security_context", "securityContext"), "namespace_options", "namespaceOptions");
        var sysctls = (Member(linux, "sysctls") as JsonObject ?? [])
            .Where(entry => Text(entry.Value) is not null).ToDictionary(entry => entry.Key, entry => Text(entry.Value)!);
        return new PodConfig(Text(Member(pod, "hostname")) ?? "", sysctls, options is not null && IsPod(Member(options, "pid")));
    }

    /// <summary>POD is the enum's zero, so it may be left out.</summary>
    private static bool IsPod(JsonNode? mode) => mode is null || Text(mode) == "POD" || (mode is JsonValue value && value.TryGetValue<int>(out var number) && number == 0);

    private static JsonNode? Member(JsonNode? node, params ReadOnlySpan<string> names)
    {
        foreach (var name in names)
        {
            if (node is JsonObject parent && parent[name] is { } member)
            {
                return member;
            }
        }
        return null;
    }

    private static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
}
