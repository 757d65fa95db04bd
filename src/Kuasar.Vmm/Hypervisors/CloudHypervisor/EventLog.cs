using System.Text.Json;

namespace Kuasar.Vmm.Hypervisors;

/// <summary>What the last events say of a VM that has ended.</summary>
internal enum LastEvent
{
    /// <summary>Nothing: the process ended while the VM ran.</summary>
    None,

    /// <summary>The guest powered off, or the VMM was asked to end: the VM was shut down, then the VMM.</summary>
    Shutdown,

    /// <summary>The guest asked for a reset, and was not booted again.</summary>
    Reset,

    /// <summary>The guest's kernel told by its pvpanic device that it panicked.</summary>
    Panic,
}

/// <summary>
/// Reads the file of <c>--event-monitor path=F</c>. It is a file, not a pipe of ours, so that it tells of what happened while no manager ran; and
/// it is read once, when the process has ended.
/// </summary>
/// <remarks>
/// The file has JSON objects, indented, with an empty line behind each:
/// <code>{"timestamp": {"secs": 1, "nanos": 5}, "source": "vm", "event": "booted", "properties": null}</code>
/// </remarks>
internal static class EventLog
{
    // An event is some 120 bytes; only the last few matter.
    private const int TailLength = 32 * 1024;

    /// <exception cref="IOException">The file is there and cannot be read.</exception>
    internal static LastEvent Read(string path)
    {
        if (!File.Exists(path))
        {
            return LastEvent.None;
        }
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var start = Math.Max(0, RandomAccess.GetLength(file) - TailLength);
        var tail = new byte[TailLength];
        var length = RandomAccess.Read(file, tail, start);
        ReadOnlySpan<byte> events = tail.AsSpan(0, length);
        if (start > 0)
        {
            // Begin with a whole event.
            events = events[(events.IndexOf("\n\n"u8) + 2)..];
        }
        return Parse(events);
    }

    internal static LastEvent Parse(ReadOnlySpan<byte> events)
    {
        var last = LastEvent.None;
        var reader = new Utf8JsonReader(events, new JsonReaderOptions { AllowMultipleValues = true });
        try
        {
            while (reader.Read())
            {
                last = Follow(last, JsonElement.ParseValue(ref reader));
            }
        }
        catch (JsonException)
        {
            // A process that was killed may have written half an event.
        }
        return last;
    }

    private static LastEvent Follow(LastEvent last, JsonElement entry)
    {
        if (entry.ValueKind != JsonValueKind.Object || !entry.TryGetProperty("source", out var source) || !entry.TryGetProperty("event", out var name))
        {
            return last;
        }
        return (source.GetString(), name.GetString()) switch
        {
            ("guest", "panic") => LastEvent.Panic,
            // A guest that panics resets itself thereafter.
            ("vm", "rebooting") => last == LastEvent.Panic ? last : LastEvent.Reset,
            ("vm", "booted" or "rebooted" or "restored") => LastEvent.None,
            ("vmm", "shutdown") => last == LastEvent.Panic ? last : LastEvent.Shutdown,
            _ => last,
        };
    }
}
