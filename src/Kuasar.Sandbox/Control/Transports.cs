using Kuasar.Domain;
using Kuasar.Protocol;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Control;

/// <summary>Where sockets come from. The one place that knows whether this process or a keeper listens.</summary>
internal interface ITransports
{
    /// <summary>A listening socket, mode 0600 in a folder of mode 0700, for peers that run as root or as ourselves.</summary>
    IConnectionSource Listen(string path);

    /// <summary>The same for what is not ttrpc, from a client that connects again.</summary>
    IConnectionSource ListenRaw(string path);
}

internal sealed class UnixTransports(ILoggerFactory loggerFactory) : ITransports
{
    public IConnectionSource Listen(string path) =>
        path.Length <= DomainPaths.MaxSocketPath
            ? UnixConnectionSource.Bind(path, new UnixSocketOptions { LoggerFactory = loggerFactory })
            : throw new SandboxException(SandboxError.InvalidArgument, $"the socket path is longer than {DomainPaths.MaxSocketPath} characters: {path}");

    public IConnectionSource ListenRaw(string path) => Listen(path);
}
