using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <content>As it goes through the keeper's execve.</content>
internal sealed partial class RelayedConnection
{
    internal void Write(PacketWriter state, List<SafeFileHandle> handles)
    {
        state.Handle(_client, handles).Number((uint)Peer.ProcessId).Number(Peer.UserId).Number(Peer.GroupId);
        state.Number(_server is null ? 0u : 1u);
        if (_server is not null)
        {
            state.Handle(_server, handles);
        }
        state.Long((ulong)_queued).Long((ulong)_written).Number((uint)_discard);
        state.Bytes(_fromClient.Span).Bytes(_toClient.Span).Bytes(_fromServer.Span).Bytes(_toServer.Span);
        state.Number((uint)_calls.Count);
        foreach (var call in _calls.All)
        {
            state.Number((uint)call.Rule).Long((ulong)call.End).Bytes(call.Frame);
        }
    }

    internal static RelayedConnection Read(RelayContext context, KeeperListener listener, ref PacketReader state)
    {
        var client = state.Handle();
        var peer = new PeerIdentity((int)state.Number(), state.Number(), state.Number());
        var connection = new RelayedConnection(context, listener, client, peer);
        if (state.Number() != 0)
        {
            connection._server = state.Handle();
            connection._serverEvents = context.Loop.Register(connection._server, EventLoop.In, connection.OnServer);
        }
        connection._queued = (long)state.Long();
        connection._written = (long)state.Long();
        connection._discard = (int)state.Number();
        connection._fromClient.Append(state.Bytes());
        connection._toClient.Append(state.Bytes());
        connection._fromServer.Append(state.Bytes());
        connection._toServer.Append(state.Bytes());
        for (var left = state.Number(); left > 0; left--)
        {
            var rule = (CallRule)state.Number();
            var end = (long)state.Long();
            connection._calls.Add(state.Bytes(), rule).End = end;
        }
        connection.Balance();
        return connection;
    }
}
