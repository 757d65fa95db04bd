using System.Diagnostics;
using System.Globalization;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <content>
/// The state as it goes through an execve. What is appended in a later version goes to the end: an older program must be able to tell by
/// the version that it cannot read it, and a newer one reads the older.
/// </content>
internal sealed partial class KeeperProcess
{
    /// <param name="text">What the operator is told in the end.</param>
    /// <param name="call">The operator.</param>
    /// <param name="handles">Gets every fd that the state names.</param>
    private PacketWriter Write(string text, OperatorCall call, List<SafeFileHandle> handles)
    {
        var state = new PacketWriter();
        state.Number(KeeperState.Magic).Number(KeeperState.Version);
        state.Long((ulong)Stopwatch.GetTimestamp()).Number((uint)_keeperUpgrades).Number((uint)_restarts);
        state.Handle(_lock!, handles).Handle(_operators!.Socket, handles);
        state.Text(_binary!.Path).Handle(_binary.File, handles);
        state.Text(text).Handle(call.Peer, handles);
        state.Number((uint)_active!.ProcessId).Text(_active.Version).Handle(_active.Channel, handles);
        state.Number((uint)_handles.Count);
        foreach (var (name, handle) in _handles)
        {
            state.Text(name).Handle(handle, handles);
        }
        _exits.Write(state);
        state.Number((uint)_listeners.Count);
        foreach (var listener in _listeners.Values)
        {
            state.Text(listener.Path).Number(listener.IsRaw ? 1u : 0u).Number(listener.IsClaimed ? 1u : 0u).Handle(listener.Socket, handles);
            state.Number((uint)listener.Connections.Count);
            foreach (var connection in listener.Connections)
            {
                connection.Write(state, handles);
            }
        }
        return state;
    }

    /// <summary>Whether a state can be read; touches nothing.</summary>
    internal static bool CanRead(byte[] state)
    {
        var reader = new PacketReader(state);
        return reader.Number() == KeeperState.Magic && reader.Number() <= KeeperState.Version;
    }

    private void Restore(byte[] state)
    {
        var reader = new PacketReader(state);
        reader.Number(); // the magic number, and
        reader.Number(); // the version: there is one, and a check came before
        var began = (long)reader.Long();
        _keeperUpgrades = (int)reader.Number() + 1;
        _restarts = (int)reader.Number();
        _everReady = true;
        _service = ServiceManager.TryOpen();
        _lock = reader.Handle();
        _operators = new OperatorSocket(_loop, reader.Handle(), OnOperator);
        _binary = KeeperBinary.Adopt(reader.Text(), reader.Handle());
        var text = reader.Text();
        var call = new OperatorCall(reader.Handle(), ended: null);
        var pid = (int)reader.Number();
        var version = reader.Text();
        _active = new SandboxerProcess(_loop, pid, reader.Handle(), _binary)
        {
            Stage = SandboxerStage.Ready, Version = version, ReadyAt = Environment.TickCount64, Received = OnPacket,
        };
        for (var left = reader.Number(); left > 0; left--)
        {
            _handles.Add(reader.Text(), reader.Handle());
        }
        _exits.Read(ref reader);
        for (var left = reader.Number(); left > 0; left--)
        {
            RestoreListener(ref reader);
        }
        Serves(_logger, pid, version);
        call.Finish(string.Create(
            CultureInfo.InvariantCulture, $"ok: {text}; keeper replaced, pause {Stopwatch.GetElapsedTime(began).TotalMilliseconds:0.0} ms"));
    }

    private void RestoreListener(ref PacketReader reader)
    {
        var path = reader.Text();
        var raw = reader.Number() != 0;
        var claimed = reader.Number() != 0;
        var listener = new KeeperListener(_context, path, raw, reader.Handle(), OnAccepted) { IsClaimed = claimed };
        _listeners.Add(path, listener);
        for (var left = reader.Number(); left > 0; left--)
        {
            listener.Add(RelayedConnection.Read(_context, listener, ref reader));
        }
    }
}
