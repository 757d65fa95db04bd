using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Hypervisors.Rest;

/// <summary>What a VMM answered.</summary>
/// <param name="Status">HTTP's.</param>
/// <param name="Body">Null when it has none, or is no object.</param>
/// <param name="Error">The VMM's words when the status is an error.</param>
internal sealed record ApiReply(int Status, JsonObject? Body, string? Error)
{
    internal const int NotFound = 404;

    internal bool IsSuccess => Status is >= 200 and < 300;

    internal static ApiReply Parse(int status, byte[] bytes)
    {
        JsonNode? node = null;
        try
        {
            node = bytes.Length == 0 ? null : JsonNode.Parse(bytes);
        }
        catch (JsonException)
        {
            // An error may be plain text.
        }
        return new ApiReply(status, node as JsonObject, status is >= 200 and < 300 ? null : ErrorOf(node, bytes));
    }

    // Cloud Hypervisor has a list, from what failed to its cause; Firecracker an object.
    private static string ErrorOf(JsonNode? node, byte[] bytes) => node switch
    {
        JsonArray causes => string.Join(": ", causes.Select(cause => cause?.ToString())),
        JsonObject fault when fault["fault_message"] is { } message => message.ToString(),
        _ => bytes.Length == 0 ? "no reason given" : Encoding.UTF8.GetString(bytes),
    };
}
