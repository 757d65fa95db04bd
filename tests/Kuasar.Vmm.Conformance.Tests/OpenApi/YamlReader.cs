using System.Text.Json.Nodes;

namespace Kuasar.Vmm.Conformance.Tests.OpenApi;

/// <summary>
/// As much YAML as OpenAPI files are written in: maps, lists and plain or quoted scalars by indentation, and lists in brackets. Text over several
/// lines is dropped; the tests have no use for descriptions. Every scalar becomes a string.
/// </summary>
internal sealed class YamlReader
{
    private readonly List<(int Indent, string Text)> _lines = [];
    private int _at;

    private YamlReader(string text)
    {
        foreach (var line in text.Split('\n'))
        {
            var content = line.TrimStart();
            if (content.Length > 0 && content[0] != '#')
            {
                _lines.Add((line.Length - content.Length, content.TrimEnd()));
            }
        }
    }

    internal static JsonObject Read(string path)
    {
        var reader = new YamlReader(File.ReadAllText(path));
        return reader.ReadNode(0)!.AsObject();
    }

    private JsonNode? ReadNode(int indent)
    {
        if (_at == _lines.Count || _lines[_at].Indent < indent)
        {
            return null;
        }
        return IsItem(_lines[_at].Text) ? ReadList(_lines[_at].Indent) : ReadMap(_lines[_at].Indent);
    }

    private JsonArray ReadList(int indent)
    {
        var list = new JsonArray();
        while (_at < _lines.Count && _lines[_at].Indent == indent && IsItem(_lines[_at].Text))
        {
            // What follows the dash is a line of its own, further in.
            var text = _lines[_at].Text[1..].TrimStart();
            if (Colon(text) < 0)
            {
                list.Add(Scalar(text));
                _at++;
                continue;
            }
            _lines[_at] = (indent + _lines[_at].Text.Length - text.Length, text);
            list.Add(ReadMap(_lines[_at].Indent));
        }
        return list;
    }

    private JsonObject ReadMap(int indent)
    {
        var map = new JsonObject();
        while (_at < _lines.Count && _lines[_at].Indent >= indent)
        {
            var (at, text) = _lines[_at++];
            var colon = Colon(text);
            if (at > indent || colon < 0)
            {
                // The rest of a text that began on an earlier line.
                continue;
            }
            if (IsItem(text))
            {
                _at--;
                break;
            }
            var value = text[(colon + 1)..].Trim();
            // A list may be as far in as its key.
            map[Unquote(text[..colon])] = value.Length > 0 ? Scalar(value)
                : _at < _lines.Count && IsItem(_lines[_at].Text) ? ReadNode(indent) : ReadNode(indent + 1);
        }
        return map;
    }

    private static JsonNode Scalar(string text) => text.StartsWith('[')
        ? new JsonArray([.. text[1..text.IndexOf(']', StringComparison.Ordinal)].Split(',', StringSplitOptions.TrimEntries).Select(t => (JsonNode)Unquote(t))])
        : Unquote(text);

    private static bool IsItem(string text) => text.StartsWith("- ", StringComparison.Ordinal);

    // The colon that ends a key is followed by the end of the line or a blank.
    private static int Colon(string text) => text.EndsWith(':') ? text.Length - 1 : text.IndexOf(": ", StringComparison.Ordinal);

    private static string Unquote(string text) => text.Trim().Trim('"', '\'');
}
