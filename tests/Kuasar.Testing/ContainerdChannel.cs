using System.Net.Sockets;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;

namespace Kuasar.Testing;

/// <summary>A gRPC channel to containerd's unix socket, which names a containerd namespace in every call if given one.</summary>
public sealed class ContainerdChannel : IDisposable
{
    private readonly GrpcChannel _channel;

    private ContainerdChannel(GrpcChannel channel, string? containerdNamespace)
    {
        _channel = channel;
        Invoker = channel.CreateCallInvoker();
        if (containerdNamespace is not null)
        {
            Invoker = Invoker.Intercept(headers =>
            {
                // Headers given by the caller win, so a single call can go to another namespace.
                if (headers.Get(NamespaceHeader) is null)
                {
                    headers.Add(NamespaceHeader, containerdNamespace);
                }
                return headers;
            });
        }
    }

    /// <summary>The metadata key by which containerd tells namespaces apart.</summary>
    public const string NamespaceHeader = "containerd-namespace";

    /// <summary>What generated clients are made of: <c>new Tasks.TasksClient(channel.Invoker)</c>.</summary>
    public CallInvoker Invoker { get; }

    /// <summary>Makes a channel; it connects with the first call. CRI needs no namespace.</summary>
    public static ContainerdChannel ForSocket(string path, string? containerdNamespace = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancel) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        var channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = handler,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = 16 << 20,
        });
        return new ContainerdChannel(channel, containerdNamespace);
    }

    /// <inheritdoc/>
    public void Dispose() => _channel.Dispose();
}
