using System.Text.Json;

namespace Kuasar.Sandbox.Oci;

/// <summary>Turns what a runtime logged (<c>--log-format json</c>, a line an entry) into an error that a person can act on.</summary>
internal static class OciRuntimeLog
{
    private const int MaxSize = 1 << 20;

    /// <summary>The text of the last entry of level error or fatal; null when there is none or no log.</summary>
    internal static string? LastError(string path)
    {
        string? last = null;
        try
        {
            if (new FileInfo(path).Length > MaxSize)
            {
                return null;
            }
            foreach (var line in File.ReadLines(path))
            {
                last = ErrorOf(line) ?? last;
            }
        }
        catch (IOException)
        {
            // It failed before it opened its log.
        }
        return last;
    }

    internal static SandboxException ToException(string command, uint exitCode, string? error)
    {
        if (error is null)
        {
            return new(SandboxError.Unknown, $"{command} failed with exit code {exitCode} and no message");
        }
        var kind = error.Contains("container does not exist", StringComparison.Ordinal)
                || error.Contains("process already finished", StringComparison.Ordinal)
                || error.Contains("No such process", StringComparison.Ordinal) ? SandboxError.NotFound
            : error.Contains("already exists", StringComparison.Ordinal) ? SandboxError.AlreadyExists
            : SandboxError.Unknown;
        return new(kind, $"{command} failed: {error}");
    }

    private static string? ErrorOf(string line)
    {
        try
        {
            using var document = JsonDocument.Parse(line);
            var entry = document.RootElement;
            return entry.ValueKind == JsonValueKind.Object
                && entry.TryGetProperty("level", out var level) && level.ValueKind == JsonValueKind.String && level.GetString() is "error" or "fatal"
                && entry.TryGetProperty("msg", out var message) && message.ValueKind == JsonValueKind.String
                ? message.GetString()
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
