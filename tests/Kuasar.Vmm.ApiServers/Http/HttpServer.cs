using System.Net.Sockets;
using System.Text;

namespace Kuasar.Vmm.ApiServers.Http;

/// <summary>HTTP on a unix socket. The handler sees to it that requests on several connections go one by one: a VMM has one loop.</summary>
internal sealed class HttpServer(string path, string name, Func<HttpRequest, HttpResponse> handle)
{
    /// <summary>While set, requests are read and not answered.</summary>
    internal bool Hung { get; set; }

    /// <summary>Serves until the process ends.</summary>
    internal async Task RunAsync()
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen();
        while (true)
        {
            _ = ServeAsync(await listener.AcceptAsync());
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        using var stream = new RightsStream(socket);
        var reader = new HttpReader(stream);
        try
        {
            while (await reader.ReadAsync(default) is { } request)
            {
                if (Hung)
                {
                    await Task.Delay(Timeout.Infinite);
                }
                var response = handle(request);
                Console.WriteLine($"{request.Method} {request.Path} {Text(request.Body)} -> {response.Status} {response.Body}");
                await stream.WriteAsync(Format(response));
                response.After?.Invoke();
            }
        }
        catch (HttpFormatException refused)
        {
            Console.WriteLine($"400: {refused.Message}");
            await stream.WriteAsync(Format(new HttpResponse(400, refused.Message)));
        }
        catch (IOException)
        {
            // The client has gone.
        }
        catch (Exception bug)
        {
            // This server's own, as a VMM's panic.
            Console.Error.WriteLine(bug);
            Environment.Exit(101);
        }
    }

    // micro_http has no reason phrase, and sends no length with 204.
    private byte[] Format(HttpResponse response)
    {
        var body = response.Body ?? "";
        var length = response.Status == 204 ? "" : $"Content-Type: application/json\r\nContent-Length: {Encoding.UTF8.GetByteCount(body)}\r\n";
        return Encoding.UTF8.GetBytes($"HTTP/1.1 {response.Status} \r\nServer: {name}\r\nConnection: keep-alive\r\n{length}\r\n{body}");
    }

    private static string Text(byte[]? body) => body is null ? "" : Encoding.UTF8.GetString(body);
}
