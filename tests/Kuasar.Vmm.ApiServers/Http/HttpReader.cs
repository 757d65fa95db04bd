using System.Globalization;
using System.Text;

namespace Kuasar.Vmm.ApiServers.Http;

/// <summary>
/// Reads requests as micro_http does, the server in both VMMs: lines below 1024 bytes that end in CR LF, a body only by Content-Length, JSON or
/// plain text, and no chunks.
/// </summary>
internal sealed class HttpReader(RightsStream stream)
{
    private const int LineLimit = 1024, BodyLimit = 51200;

    private readonly byte[] _one = new byte[1];

    /// <summary>The next request; null at the end of the connection.</summary>
    internal async Task<HttpRequest?> ReadAsync(CancellationToken cancel)
    {
        var line = await ReadLineAsync(cancel);
        if (line is null)
        {
            return null;
        }
        var words = line.Split(' ');
        if (words is not [var method, var path, "HTTP/1.1"] || !path.StartsWith('/'))
        {
            throw new HttpFormatException($"not a request line: {line}");
        }
        var length = 0;
        while (await ReadLineAsync(cancel) is { } header)
        {
            if (header.Length == 0)
            {
                var body = length == 0 ? null : await ReadBodyAsync(length, cancel);
                return new HttpRequest(method, path, body, stream.TakeFiles());
            }
            var colon = header.IndexOf(':', StringComparison.Ordinal);
            if (colon < 0)
            {
                throw new HttpFormatException($"not a header: {header}");
            }
            var value = header[(colon + 1)..].Trim();
            switch (header[..colon].ToLowerInvariant())
            {
                case "content-length":
                    length = int.Parse(value, NumberStyles.None, CultureInfo.InvariantCulture);
                    break;
                case "transfer-encoding":
                case "expect":
                    throw new HttpFormatException($"not understood here: {header}");
                // Others are passed over by micro_http without a word, which would hide what a client had better not send.
                case "content-type" or "accept" when value is not ("application/json" or "text/plain"):
                    throw new HttpFormatException($"an unknown type: {header}");
            }
        }
        throw new HttpFormatException("the connection ended within the headers");
    }

    private async Task<byte[]> ReadBodyAsync(int length, CancellationToken cancel)
    {
        if (length > BodyLimit)
        {
            throw new HttpFormatException($"a body of {length} bytes");
        }
        var body = new byte[length];
        await stream.ReadExactlyAsync(body, cancel);
        return body;
    }

    private async Task<string?> ReadLineAsync(CancellationToken cancel)
    {
        var line = new StringBuilder();
        while (await stream.ReadAsync(_one, cancel) == 1)
        {
            if (_one[0] == '\n' && line.Length > 0 && line[^1] == '\r')
            {
                return line.ToString(0, line.Length - 1);
            }
            line.Append((char)_one[0]);
            if (line.Length == LineLimit)
            {
                throw new HttpFormatException("a line of 1024 bytes");
            }
        }
        return line.Length == 0 ? null : throw new HttpFormatException("the connection ended within a line");
    }
}
