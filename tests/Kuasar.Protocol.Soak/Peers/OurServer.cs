using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Soak;

/// <summary>Our server on a unix socket, whose connections can be cut at random.</summary>
internal sealed class OurServer : IAsyncDisposable
{
    private readonly UnixConnectionSource _source;
    private readonly Cuttable _cuttable;
    private readonly Task _serving;

    internal OurServer(string socket, ILoggerFactory? log = null)
    {
        Server = new TtrpcServer(new TtrpcServerOptions { LoggerFactory = log });
        Peer.BindService(Server.Services, new OurPeer());
        _source = UnixConnectionSource.Bind(socket);
        _cuttable = new Cuttable(_source);
        _serving = Server.ServeAsync(_cuttable, default);
    }

    internal TtrpcServer Server { get; }

    /// <summary>Aborts one connection, if there is one.</summary>
    internal void Cut(Random random) => _cuttable.Cut(random);

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        await _serving;
        await _source.DisposeAsync();
    }

    private sealed class Cuttable(IConnectionSource source) : IConnectionSource
    {
        private const int Remembered = 64;
        private readonly ConcurrentQueue<Connection> _connections = new();

        public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken)
        {
            var connection = await source.AcceptAsync(cancellationToken);
            if (connection is not null)
            {
                _connections.Enqueue(connection);
                while (_connections.Count > Remembered)
                {
                    _connections.TryDequeue(out _);
                }
            }
            return connection;
        }

        /// <summary>One of the last; it may have ended long ago, and then this does nothing.</summary>
        internal void Cut(Random random)
        {
            for (var skip = random.Next(_connections.Count + 1); skip > 0 && _connections.TryDequeue(out var skipped); skip--)
            {
                _connections.Enqueue(skipped);
            }
            if (_connections.TryDequeue(out var connection))
            {
                connection.Abort();
            }
        }

        public ValueTask DisposeAsync() => source.DisposeAsync();
    }
}
