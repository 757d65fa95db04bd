using System.Text.Json;

namespace Kuasar.Vmm.ApiServers.OpenApi;

/// <summary>A field of a schema. <paramref name="Type"/>: integer, string, boolean, object, A|B|C (an enumeration), [T] (a list), or a schema's name.</summary>
internal sealed record Field(string Name, string Type, bool Required);

/// <summary>A JSON object of an OpenAPI file.</summary>
internal sealed record Schema(string Name, IReadOnlyList<Field> Fields);

/// <summary>A method of an OpenAPI file: what it takes and what it may answer with.</summary>
internal sealed record Operation(string Method, string Path, string? Body, IReadOnlyList<int> Statuses);

/// <summary>The part of an OpenAPI file that a driver may use, and the check of a request against it.</summary>
internal sealed class ApiTable
{
    private readonly Dictionary<string, Schema> _schemas;

    /// <param name="schemas">A line each: <c>Name: field! type; field type; ...</c>, where ! marks what is required.</param>
    /// <param name="operations">A line each: <c>PUT /path Body 204 400</c>, with - for no body.</param>
    internal ApiTable(string schemas, string operations)
    {
        _schemas = Lines(schemas).Select(ParseSchema).ToDictionary(s => s.Name);
        Operations = [.. Lines(operations).Select(ParseOperation)];
    }

    internal IReadOnlyList<Operation> Operations { get; }

    internal IEnumerable<Schema> Schemas => _schemas.Values;

    internal Operation? Find(string method, string path) =>
        Operations.FirstOrDefault(o => o.Method == method && PathMatches(o.Path, path));

    /// <summary>What is wrong with a body; null: nothing.</summary>
    internal string? Refuse(string schema, JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Object)
        {
            return $"{schema}: expected an object, not {value.ValueKind}";
        }
        var fields = _schemas[schema].Fields;
        foreach (var field in fields)
        {
            if (field.Required && !value.TryGetProperty(field.Name, out _))
            {
                return $"{schema}: missing field `{field.Name}`";
            }
        }
        foreach (var property in value.EnumerateObject())
        {
            var field = fields.FirstOrDefault(f => f.Name == property.Name);
            var error = field is null ? $"unknown field `{property.Name}`" : RefuseType(field.Type, property.Value);
            if (error is not null)
            {
                return $"{schema}.{property.Name}: {error}";
            }
        }
        return null;
    }

    private string? RefuseType(string type, JsonElement value)
    {
        if (type.StartsWith('['))
        {
            return value.ValueKind != JsonValueKind.Array
                ? "expected a list"
                : value.EnumerateArray().Select(item => RefuseType(type[1..^1], item)).FirstOrDefault(error => error is not null);
        }
        if (type.Contains('|', StringComparison.Ordinal))
        {
            return value.ValueKind == JsonValueKind.String && type.Split('|').Contains(value.GetString()) ? null : $"expected one of {type}";
        }
        return type switch
        {
            "integer" => value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out _) ? null : "expected an integer",
            "string" => value.ValueKind == JsonValueKind.String ? null : "expected a string",
            "boolean" => value.ValueKind is JsonValueKind.True or JsonValueKind.False ? null : "expected a boolean",
            "object" => value.ValueKind == JsonValueKind.Object ? null : "expected an object",
            _ => Refuse(type, value),
        };
    }

    private static bool PathMatches(string pattern, string path)
    {
        var brace = pattern.IndexOf('{', StringComparison.Ordinal);
        return brace < 0 ? pattern == path : path.Length > brace && path.StartsWith(pattern[..brace], StringComparison.Ordinal)
            && !path[brace..].Contains('/', StringComparison.Ordinal);
    }

    private static Schema ParseSchema(string line)
    {
        var colon = line.IndexOf(':', StringComparison.Ordinal);
        return new Schema(line[..colon], [.. line[(colon + 1)..].Split(';', StringSplitOptions.TrimEntries).Select(ParseField)]);
    }

    private static Field ParseField(string text)
    {
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        return new Field(text[..space].TrimEnd('!'), text[(space + 1)..], text[space - 1] == '!');
    }

    private static Operation ParseOperation(string line)
    {
        var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return new Operation(words[0], words[1], words[2] == "-" ? null : words[2], [.. words[3..].Select(int.Parse)]);
    }

    private static string[] Lines(string table) => table.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
}
