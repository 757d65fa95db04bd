using Grpc.Core;
using Kuasar.Protocol.Server;

namespace Kuasar.Protocol;

/// <summary>What a ttrpc server knows of a call beyond gRPC's context.</summary>
public static class TtrpcServerCallContextExtensions
{
    /// <summary>The connection the call came on: its peer's credentials, local address and tag. The server owns it.</summary>
    /// <exception cref="InvalidOperationException">The call did not come through a <see cref="TtrpcServer"/>.</exception>
    public static Connection GetConnection(this ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        return context is ServerCall call
            ? call.Connection.Connection
            : throw new InvalidOperationException("The call did not come through a TtrpcServer.");
    }
}
