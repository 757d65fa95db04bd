using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kuasar.Vmm.ApiServers.CloudHypervisor;

/// <summary>The file of <c>--event-monitor path=F</c>: indented JSON objects with an empty line behind each.</summary>
internal sealed class EventMonitor
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    private readonly string? _path;
    private readonly long _start = Environment.TickCount64;

    internal EventMonitor(string? path)
    {
        _path = path;
        if (path is not null)
        {
            File.WriteAllText(path, "");
        }
    }

    internal void Write(string source, string name, JsonObject? properties = null)
    {
        if (_path is null)
        {
            return;
        }
        var elapsed = Environment.TickCount64 - _start;
        var entry = new JsonObject
        {
            ["timestamp"] = new JsonObject { ["secs"] = elapsed / 1000, ["nanos"] = elapsed % 1000 * 1_000_000 },
            ["source"] = source,
            ["event"] = name,
            ["properties"] = properties,
        };
        File.AppendAllText(_path, entry.ToJsonString(Indented) + "\n\n");
    }
}
