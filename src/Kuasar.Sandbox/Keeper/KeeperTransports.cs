using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Threading.Channels;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Sandbox.Control;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Sockets that the keeper listens on.</summary>
internal sealed class KeeperTransports(KeeperSession session) : ITransports
{
    private readonly ConcurrentDictionary<string, RelayedSource> _sources = new(StringComparer.Ordinal);

    public IConnectionSource Listen(string path)
    {
        // Connections may come before the answer.
        var source = new RelayedSource(path);
        if (!_sources.TryAdd(path, source))
        {
            throw new SandboxException(SandboxError.AlreadyExists, $"{path} is listened on already");
        }
        try
        {
            Ask(PacketKind.Listen, path);
            return source;
        }
        catch
        {
            _sources.TryRemove(path, out _);
            throw;
        }
    }

    public IConnectionSource ListenRaw(string path) => new RawSource(path, Ask(PacketKind.ListenRaw, path).Handle!);

    /// <summary>A connection that the keeper has accepted. On the loop's thread.</summary>
    internal void Take(string path, PeerIdentity peer, SafeFileHandle stream)
    {
        if (_sources.TryGetValue(path, out var source))
        {
            source.Add(stream, peer);
        }
        else
        {
            stream.Dispose();
        }
    }

    // Listening is asked for by handlers that are not asynchronous, and the keeper answers in microseconds.
    private KeeperSession.Answer Ask(PacketKind kind, string path)
    {
        KeeperSession.Answer answer;
        try
        {
            answer = session.AskAsync((writer, request) => writer.Begin(kind).Number(request).Text(path)).GetAwaiter().GetResult();
        }
        catch (TimeoutException e)
        {
            throw new SandboxException(SandboxError.Unavailable, $"the keeper does not answer whether it listens on {path}", e);
        }
        return answer.Errno == 0 ? answer : throw new LinuxException($"listen {path}", answer.Errno);
    }

    private sealed class RelayedSource(string path) : IConnectionSource
    {
        private readonly Channel<Connection> _accepted = Channel.CreateUnbounded<Connection>();

        internal void Add(SafeFileHandle stream, PeerIdentity peer)
        {
            var socket = new Socket(new SafeSocketHandle(stream.DangerousGetHandle(), ownsHandle: true));
            stream.SetHandleAsInvalid();
            var connection = Connection.FromRelayedSocket(socket, new PeerCredentials(peer.ProcessId, peer.UserId, peer.GroupId), path);
            if (!_accepted.Writer.TryWrite(connection))
            {
                connection.Abort();
                socket.Dispose();
            }
        }

        public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken) =>
            await _accepted.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false) && _accepted.Reader.TryRead(out var connection)
                ? connection
                : null;

        // The keeper listens on: another sandboxer will be there in a moment.
        public ValueTask DisposeAsync()
        {
            _accepted.Writer.TryComplete();
            return default;
        }
    }

    /// <summary>A listening socket that we accept on ourselves. Disposing it leaves the keeper's.</summary>
    private sealed class RawSource : IConnectionSource
    {
        private readonly Socket _socket;
        private readonly string _path;
        private bool _disposed;

        internal RawSource(string path, SafeFileHandle socket)
        {
            _path = path;
            _socket = new Socket(new SafeSocketHandle(socket.DangerousGetHandle(), ownsHandle: true));
            socket.SetHandleAsInvalid();
        }

        public async ValueTask<Connection?> AcceptAsync(CancellationToken cancellationToken)
        {
            while (true)
            {
                try
                {
                    var connection = Connection.FromSocket(await _socket.AcceptAsync(cancellationToken).ConfigureAwait(false), _path);
                    if (connection.Peer is { } peer && (peer.UserId == 0 || peer.UserId == Libc.EffectiveUserId))
                    {
                        return connection;
                    }
                    await connection.DisposeAsync().ConfigureAwait(false);
                }
                catch (Exception) when (Volatile.Read(ref _disposed))
                {
                    return null;
                }
                catch (SocketException)
                {
                    // EMFILE and the like: they pass.
                    await Task.Delay(100, cancellationToken).ConfigureAwait(false);
                }
            }
        }

        public ValueTask DisposeAsync()
        {
            Volatile.Write(ref _disposed, true);
            _socket.Dispose();
            return default;
        }
    }
}
