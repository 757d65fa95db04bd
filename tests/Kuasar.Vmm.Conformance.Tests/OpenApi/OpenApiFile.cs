using System.Globalization;
using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.OpenApi;

namespace Kuasar.Vmm.Conformance.Tests.OpenApi;

/// <summary>A published API file, OpenAPI 3 or Swagger 2, seen as the tables of the API servers are.</summary>
internal sealed class OpenApiFile
{
    private readonly JsonObject _root;
    private readonly JsonObject _schemas;

    private OpenApiFile(JsonObject root) =>
        (_root, _schemas) = (root, (root["components"]?["schemas"] ?? root["definitions"])!.AsObject());

    /// <summary>The file, which stays out of the repository.</summary>
    internal static OpenApiFile Open(string name, string source)
    {
        var folder = Environment.GetEnvironmentVariable("KUASAR_OPENAPI") ?? Repository.Path("artifacts/openapi");
        var path = Path.Combine(folder, name);
        Assert.True(File.Exists(path), $"{path} is not there: put {source} of the VMM's repository there (or where KUASAR_OPENAPI points)");
        return new OpenApiFile(YamlReader.Read(path));
    }

    /// <summary>A schema's fields; null when it has none of this name.</summary>
    internal Schema? Schema(string name)
    {
        if (_schemas[name] is not JsonObject schema)
        {
            return null;
        }
        var required = schema["required"]?.AsArray().Select(r => r!.GetValue<string>()).ToHashSet() ?? [];
        var fields = schema["properties"]?.AsObject().Where(p => p.Value is JsonObject)
            .Select(p => new Field(p.Key, TypeOf(p.Value!.AsObject()), required.Contains(p.Key))) ?? [];
        return new Schema(name, [.. fields]);
    }

    /// <summary>A method of a path; null when there is none.</summary>
    internal Operation? Operation(string method, string path)
    {
        if (_root["paths"]?[path]?[method.ToLowerInvariant()] is not JsonObject operation)
        {
            return null;
        }
        var statuses = operation["responses"]!.AsObject().Where(r => r.Key != "default").Select(r => int.Parse(r.Key, CultureInfo.InvariantCulture));
        // OpenAPI 3 has a requestBody, Swagger 2 a parameter in the body.
        var body = operation["requestBody"]?["content"]?["application/json"]?["schema"]
            ?? operation["parameters"]?.AsArray().FirstOrDefault(p => p!["in"]?.GetValue<string>() == "body")?["schema"];
        return new Operation(method, path, body is null ? null : Name(body["$ref"]!.GetValue<string>()), [.. statuses]);
    }

    private string TypeOf(JsonObject type)
    {
        if (type["$ref"] is { } reference)
        {
            var name = Name(reference.GetValue<string>());
            // A named enumeration is written out in the tables.
            return _schemas[name]!["enum"] is JsonArray named ? Alternatives(named) : name;
        }
        return type["enum"] is JsonArray values ? Alternatives(values)
            : type["items"] is JsonObject items ? $"[{TypeOf(items)}]"
            : type["type"]?.GetValue<string>() ?? "object";
    }

    private static string Alternatives(JsonArray values) => string.Join('|', values.Select(v => v!.GetValue<string>()));

    private static string Name(string reference) => reference[(reference.LastIndexOf('/') + 1)..];
}
