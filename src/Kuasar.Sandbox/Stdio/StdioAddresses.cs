using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Sandbox.Stdio;

/// <summary>The three stdio strings of a Create or Exec request, exactly as given: State must return them so.</summary>
internal sealed record StdioAddresses(string Stdin, string Stdout, string Stderr, bool Terminal)
{
    internal static StdioAddresses From(StdioRecord record) => new(record.Stdin, record.Stdout, record.Stderr, record.Terminal);

    internal StdioRecord ToRecord() => new() { Stdin = Stdin, Stdout = Stdout, Stderr = Stderr, Terminal = Terminal };
}

/// <summary>
/// Fifo: a path or <c>fifo://</c>. File: <c>file://</c>. LogBinary: <c>binary://</c>. Stream: <c>ttrpc+hvsock://...?streaming_id=ID</c> or another
/// <c>ttrpc+</c>; then the path is the stream's id, and only a guest serves it.
/// </summary>
internal enum StdioScheme
{
    None,
    Fifo,
    File,
    LogBinary,
    Stream,
}

/// <summary>One stdio string, taken apart.</summary>
internal readonly record struct StdioAddress(StdioScheme Scheme, string Path, IReadOnlyList<string> Arguments)
{
    /// <exception cref="SandboxException">InvalidArgument: no absolute path, or a scheme that is not served.</exception>
    internal static StdioAddress Parse(string text)
    {
        if (text.Length == 0)
        {
            return new(StdioScheme.None, "", []);
        }
        if (!text.Contains("://", StringComparison.Ordinal))
        {
            return new(StdioScheme.Fifo, CheckPath(text, text), []);
        }
        if (text.StartsWith("ttrpc+", StringComparison.Ordinal))
        {
            return new(StdioScheme.Stream, StreamId(text), []);
        }
        if (!Uri.TryCreate(text, UriKind.Absolute, out var uri) || uri.Host.Length != 0)
        {
            throw Invalid(text, "not a URI of the form scheme:///path");
        }
        var path = CheckPath(Uri.UnescapeDataString(uri.AbsolutePath), text);
        if (path.EndsWith('/'))
        {
            throw Invalid(text, "the path is that of a folder");
        }
        return uri.Scheme switch
        {
            "fifo" => new(StdioScheme.Fifo, path, []),
            "file" => new(StdioScheme.File, path, []),
            "binary" => new(StdioScheme.LogBinary, path, Pairs(uri.Query)),
            _ => throw Invalid(text, "the scheme is none of fifo, file and binary"),
        };
    }

    // containerd hands a logging program the query as its arguments: key, value, key, value.
    private static List<string> Pairs(string query)
    {
        List<string> result = [];
        foreach (var pair in query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var split = pair.IndexOf('=', StringComparison.Ordinal);
            result.Add(Decode(split < 0 ? pair : pair[..split]));
            if (split >= 0 && split + 1 < pair.Length)
            {
                result.Add(Decode(pair[(split + 1)..]));
            }
        }
        return result;

        static string Decode(string text) => Uri.UnescapeDataString(text.Replace('+', ' '));
    }

    /// <summary>
    /// What follows <c>id=</c>: the client opens the stream by it. Where the client itself would find that, a vsock address, is of no interest in
    /// the guest.
    /// </summary>
    private static string StreamId(string text)
    {
        const string Key = "id=";
        var at = text.IndexOf(Key, StringComparison.Ordinal);
        var id = at < 0 ? "" : text[(at + Key.Length)..];
        return StreamTable.IsId(id) ? id : throw Invalid(text, "no stream's id in it");
    }

    private static string CheckPath(string path, string text) =>
        path.StartsWith('/') && !path.Contains('\0', StringComparison.Ordinal) ? path : throw Invalid(text, "the path is not absolute");

    private static SandboxException Invalid(string text, string why) => new(SandboxError.InvalidArgument, $"stdio \"{text}\": {why}");
}
