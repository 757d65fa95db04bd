using System.Net;
using System.Net.Sockets;
using Kuasar.Protocol;
using Microsoft.AspNetCore.Connections;

namespace Kuasar.Sandbox.Grpc;

/// <summary>
/// Feeds Kestrel from a connection source of the host's, so that its socket has the same file mode, checks of peers and owner as every
/// other of the domain.
/// </summary>
internal sealed class KestrelListenerFactory(Func<string, IConnectionSource> listen) : IConnectionListenerFactory
{
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) =>
        ValueTask.FromResult<IConnectionListener>(new Listener(endpoint, listen(((UnixDomainSocketEndPoint)endpoint).ToString())));

    private sealed class Listener(EndPoint endPoint, IConnectionSource source) : IConnectionListener
    {
        private long _accepted;

        public EndPoint EndPoint => endPoint;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
            await source.AcceptAsync(cancellationToken).ConfigureAwait(false) is { } connection
                ? new KestrelConnection($"{++_accepted:x}", connection)
                : null;

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default) => source.DisposeAsync();

        public ValueTask DisposeAsync() => source.DisposeAsync();
    }

    private sealed class KestrelConnection : DefaultConnectionContext
    {
        private readonly Connection _connection;

        internal KestrelConnection(string id, Connection connection)
            : base(id)
        {
            _connection = connection;
            Transport = connection.Transport;
        }

        public override void Abort(ConnectionAbortedException abortReason)
        {
            _connection.Abort();
            base.Abort(abortReason);
        }

        public override async ValueTask DisposeAsync()
        {
            await _connection.DisposeAsync().ConfigureAwait(false);
            await base.DisposeAsync().ConfigureAwait(false);
        }
    }
}
