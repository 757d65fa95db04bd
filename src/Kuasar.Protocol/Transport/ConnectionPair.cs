using System.IO.Pipelines;

namespace Kuasar.Protocol;

/// <summary>Connections without a kernel, for tests and for a client and a server in one process.</summary>
public static class ConnectionPair
{
    /// <summary>Two ends of one byte stream. Each holds back its writer when 64 KiB wait for the other end.</summary>
    /// <param name="localAddress">What <see cref="Connection.LocalAddress"/> of the server end says.</param>
    /// <returns>The two ends; they differ in nothing but the address. Dispose both.</returns>
    public static (Connection Client, Connection Server) Create(string? localAddress = null)
    {
        var options = new PipeOptions(useSynchronizationContext: false);
        var toServer = new Pipe(options);
        var toClient = new Pipe(options);
        return (new Transport.PipeConnection(toClient, toServer, null), new Transport.PipeConnection(toServer, toClient, localAddress));
    }
}
