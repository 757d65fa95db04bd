using System.Text.Json;
using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.OpenApi;

namespace Kuasar.Vmm.ApiServers.Http;

/// <summary>An answer that is an error.</summary>
internal sealed class ApiException(int status, string message) : Exception(message)
{
    internal int Status { get; } = status;
}

/// <summary>
/// Holds requests and answers to a table: an unknown path or field, a missing field or a wrong type is refused before the VMM sees it, and an
/// answer's code must be among those of the table.
/// </summary>
internal sealed class ApiDispatcher(
    ApiTable table, string prefix, Func<HttpRequest, string, JsonObject, HttpResponse> act, Func<string, string> formatError)
{
    internal HttpResponse Handle(HttpRequest request)
    {
        try
        {
            return Answer(request);
        }
        catch (ApiException refused)
        {
            return new HttpResponse(refused.Status, formatError(refused.Message));
        }
        catch (JsonException malformed)
        {
            return new HttpResponse(400, formatError(malformed.Message));
        }
    }

    private HttpResponse Answer(HttpRequest request)
    {
        var path = request.Path.StartsWith(prefix, StringComparison.Ordinal) ? request.Path[prefix.Length..] : "";
        var operation = table.Find(request.Method, path) ?? throw new ApiException(404, $"Not Found: {request.Method} {request.Path}");
        if (request.Body is null != operation.Body is null)
        {
            throw new ApiException(400, operation.Body is null ? "a body where none belongs" : "no body");
        }
        var body = request.Body is null ? [] : JsonNode.Parse(request.Body)!.AsObject();
        if (operation.Body is { } schema && table.Refuse(schema, JsonDocument.Parse(request.Body).RootElement) is { } wrong)
        {
            throw new ApiException(400, wrong);
        }
        var response = act(request, path, body);
        return operation.Statuses.Contains(response.Status)
            ? response
            : throw new InvalidOperationException($"{request.Method} {path} never answers {response.Status}");
    }
}
