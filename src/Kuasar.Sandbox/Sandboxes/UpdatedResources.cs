using System.Text.Json;
using System.Text.Json.Nodes;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Cri;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>
/// How containerd's CRI hands new limits of a pod to a controller: as the extension <see cref="Key"/> of its sandbox, a structure of its own
/// as JSON, whose parts have the field names of the CRI's messages.
/// </summary>
internal static class UpdatedResources
{
    internal const string Key = "updated-resources";
    private const string TypeName = "io.containerd.cri.v1/UpdatedResources";

    private static readonly JsonParser s_parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    /// <exception cref="SandboxException">InvalidArgument: it is something else.</exception>
    internal static SandboxResources Read(Any extension)
    {
        if (extension.TypeUrl != TypeName)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the extension {Key} is of the unknown type \"{extension.TypeUrl}\"");
        }
        try
        {
            var json = JsonNode.Parse(extension.Value.Span, documentOptions: OciSpec.Strict) as JsonObject
                ?? throw new JsonException("it is no object");
            return new SandboxResources(Part(json["Overhead"]), Part(json["Resources"]));
        }
        catch (Exception e) when (e is JsonException or InvalidProtocolBufferException or InvalidOperationException)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"the extension {Key} cannot be read: {e.Message}", e);
        }
    }

    private static LinuxContainerResources? Part(JsonNode? part) =>
        part is null ? null : s_parser.Parse<LinuxContainerResources>(part.ToJsonString());
}
