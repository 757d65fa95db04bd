using System.IO.Pipelines;
using System.IO.Pipes;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Kuasar.Protocol.Transport;

#pragma warning disable CA1416 // unix sockets: not for Windows

namespace Kuasar.Protocol.Tests.Support;

/// <summary>Two connected ends of every transport.</summary>
internal sealed class Link : IAsyncDisposable
{
    private static int s_count;
    private readonly List<IAsyncDisposable> _beneath = [];
    private string? _folder;

    private Link()
    {
    }

    /// <summary>Transports of bytes.</summary>
    public static TheoryData<string> Raw => ["path", "abstract", "tcp", "tls", "stream", "pipe", "pair"];

    /// <summary>Those whose directions end one by one: a named pipe's do not, nor does a multiplexed connection's.</summary>
    public static TheoryData<string> HalfClosing => ["path", "abstract", "tcp", "tls", "pipe", "pair"];

    /// <summary>And those that are made of others.</summary>
    public static TheoryData<string> All => [.. Raw.Select(row => row.Data), "multiplexed"];

    public Connection Client { get; private set; } = null!;

    public Connection Server { get; private set; } = null!;

    /// <summary>Ends the client's direction alone; null where a transport cannot.</summary>
    public Func<Task>? HalfClose { get; private set; }

    public static async Task<Link> CreateAsync(string transport)
    {
        var link = new Link();
        await (transport switch
        {
            "path" => link.UnixAsync(Path.Combine((link._folder = Directory.CreateTempSubdirectory("kuasar").FullName), "s")),
            "abstract" => link.UnixAsync($"unix://@kuasar-link-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}"),
            "tcp" => link.TcpAsync(),
            "tls" => link.TlsAsync(),
            "stream" => link.StreamAsync(),
            "pipe" => link.PipeAsync(),
            "pair" => link.PairAsync(),
            "multiplexed" => link.MultiplexedAsync(),
            _ => throw new ArgumentException($"no transport {transport}", nameof(transport)),
        });
        return link;
    }

    public async ValueTask DisposeAsync()
    {
        await Client.DisposeAsync();
        await Server.DisposeAsync();
        foreach (var beneath in _beneath)
        {
            await beneath.DisposeAsync();
        }
        if (_folder is not null)
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    private async Task UnixAsync(string address)
    {
        var source = UnixConnectionSource.Bind(address);
        _beneath.Add(source);
        var socket = await UnixSocket.ConnectAsync(UnixAddress.Parse(address), default);
        Client = Connection.FromSocket(socket, UnixAddress.Show(address));
        Server = (await source.AcceptAsync(default))!;
        HalfClose = () => { socket.Shutdown(SocketShutdown.Send); return Task.CompletedTask; };
    }

    private async Task TcpAsync()
    {
        var (client, server) = await TcpPairAsync();
        (Client, Server) = (Connection.FromSocket(client), Connection.FromSocket(server));
        HalfClose = () => { client.Shutdown(SocketShutdown.Send); return Task.CompletedTask; };
    }

    private async Task TlsAsync()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var (clientSocket, serverSocket) = await TcpPairAsync();
        var client = new SslStream(new NetworkStream(clientSocket, ownsSocket: true));
        var server = new SslStream(new NetworkStream(serverSocket, ownsSocket: true));
        await Task.WhenAll(
            server.AuthenticateAsServerAsync(new SslServerAuthenticationOptions { ServerCertificate = certificate }),
            client.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
            {
                TargetHost = "localhost",
#pragma warning disable CA5359 // the certificate was made a moment ago
                RemoteCertificateValidationCallback = (_, _, _, _) => true,
#pragma warning restore CA5359
            })).Within();
        (Client, Server) = (Connection.FromStream(client), Connection.FromStream(server, "tls"));
        HalfClose = client.ShutdownAsync;
    }

    private async Task StreamAsync()
    {
        var name = $"kuasar-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}";
        var server = new NamedPipeServerStream(name, PipeDirection.InOut, 1, PipeTransmissionMode.Byte, System.IO.Pipes.PipeOptions.Asynchronous);
        var client = new NamedPipeClientStream(".", name, PipeDirection.InOut, System.IO.Pipes.PipeOptions.Asynchronous);
        await Task.WhenAll(server.WaitForConnectionAsync(), client.ConnectAsync()).Within();
        (Client, Server) = (Connection.FromStream(client), Connection.FromStream(server));
    }

    private Task PipeAsync()
    {
        var (up, down) = (new Pipe(), new Pipe());
        (Client, Server) = (
            Connection.FromPipe(new Duplex(down.Reader, up.Writer)), Connection.FromPipe(new Duplex(up.Reader, down.Writer), "pipe"));
        HalfClose = async () => await up.Writer.CompleteAsync();
        return Task.CompletedTask;
    }

    private Task PairAsync()
    {
        (Client, Server) = ConnectionPair.Create("pair");
        HalfClose = async () => await Client.Transport.Output.CompleteAsync();
        return Task.CompletedTask;
    }

    private Task MultiplexedAsync()
    {
        var (a, b) = ConnectionPair.Create("pair");
        var (client, server) = (new Multiplexer(a), new Multiplexer(b));
        _beneath.AddRange([client, server]);
        (Client, Server) = (client.Open(1), server.Open(1));
        client.Start();
        server.Start();
        return Task.CompletedTask;
    }

    private static async Task<(Socket Client, Socket Server)> TcpPairAsync()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp);
        await client.ConnectAsync(listener.LocalEndpoint);
        return (client, await listener.AcceptSocketAsync());
    }

    private sealed record Duplex(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
