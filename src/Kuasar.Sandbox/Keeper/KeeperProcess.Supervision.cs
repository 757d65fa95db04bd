using Kuasar.Linux;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Keeper;

/// <content>
/// There is one sandboxer, always: one that dies is started again, at once at first. Only a second one, on standby, is there for an upgrade.
/// </content>
internal sealed partial class KeeperProcess
{
    /// <summary>One that has served for so long did not fail at the start.</summary>
    private static readonly TimeSpan GoodTime = TimeSpan.FromSeconds(1);

    /// <summary>One that has not come to serve by then hangs.</summary>
    private static readonly TimeSpan ReadyLimit = TimeSpan.FromSeconds(60);

    /// <summary>One that was told to end has so long for it.</summary>
    private static readonly TimeSpan StopLimit = TimeSpan.FromSeconds(15);

    private static readonly TimeSpan[] Pauses =
        [TimeSpan.Zero, TimeSpan.FromMilliseconds(100), TimeSpan.FromMilliseconds(500), TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(5)];

    private KeeperBinary? _binary;
    private SandboxerProcess? _active;
    private SandboxerProcess? _standby;
    private KeeperTimers.Entry? _readyTimer;
    private int _failures;
    private int _restarts;
    private bool _everReady;
    private bool _stopping;

    private void StartSandboxer(KeeperBinary binary)
    {
        if (_stopping)
        {
            End(0);
            return;
        }
        try
        {
            _active = Spawn(binary);
        }
        catch (IOException e)
        {
            NotStarted(_logger, e, binary.Path);
            _timers.After(Pauses[^1], () => StartSandboxer(binary));
            return;
        }
        var started = _active;
        _readyTimer = _timers.After(ReadyLimit, () => EndHanging(started));
    }

    private SandboxerProcess Spawn(KeeperBinary binary)
    {
        var process = SandboxerProcess.Start(_loop, binary, _arguments, _environment);
        process.Received = OnPacket;
        return process;
    }

    private void EndHanging(SandboxerProcess process)
    {
        if (process == _active && process.Stage != SandboxerStage.Ready)
        {
            Hangs(_logger, process.ProcessId);
            process.Kill();
        }
    }

    private void OnHello(SandboxerProcess sender)
    {
        sender.Stage = SandboxerStage.Waiting;
        if (sender == _active)
        {
            GiveState(sender);
        }
        else if (sender == _standby)
        {
            OnStandbyWaits();
        }
    }

    private void GiveState(SandboxerProcess sandboxer)
    {
        sandboxer.Stage = SandboxerStage.TakingOver;
        _exits.ForgetWatchers();
        foreach (var listener in _listeners.Values)
        {
            listener.IsClaimed = false;
            listener.ServerIsLeaving = false;
        }
        foreach (var (name, handle) in _handles)
        {
            sandboxer.Send(_writer.Begin(PacketKind.Stored).Text(name), handle);
        }
        sandboxer.Send(_writer.Begin(PacketKind.TakeOver));
    }

    private void OnReady(SandboxerProcess sender)
    {
        sender.Stage = SandboxerStage.Ready;
        sender.ReadyAt = Environment.TickCount64;
        _readyTimer?.Cancel();
        _everReady = true;
        // What this sandboxer does not listen on, nobody will ever answer.
        foreach (var listener in _listeners.Values.Where(listener => !listener.IsClaimed).ToArray())
        {
            _listeners.Remove(listener.Path);
            _service?.Remove(NameOf(listener));
            listener.Dispose();
        }
        _service?.Ready();
        Serves(_logger, sender.ProcessId, sender.Version);
        OnUpgradeReady(sender);
    }

    private void OnLeaving(SandboxerProcess sender)
    {
        sender.Stage = SandboxerStage.Leaving;
        foreach (var listener in _listeners.Values)
        {
            listener.ServerIsLeaving = true;
        }
    }

    private void OnSandboxerDied(int pid, int status)
    {
        if (pid == _standby?.ProcessId)
        {
            _standby.Dispose();
            _standby = null;
            OnStandbyDied(status);
            return;
        }
        var died = _active!;
        _active = null;
        _readyTimer?.Cancel();
        _exitQuestions.RemoveAll(question => question.Sandboxer == died);
        foreach (var connection in _listeners.Values.SelectMany(listener => listener.Connections).ToArray())
        {
            connection.Detach();
        }
        died.Dispose();
        if (_stopping)
        {
            End(0);
        }
        else if (!_everReady && !OnUpgrade)
        {
            // It has said on standard error what is wrong, and would say it for ever.
            End(status == 0 ? 1 : status);
        }
        else if (!OnActiveDiedInUpgrade(died))
        {
            Restart(died, status);
        }
    }

    private void Restart(SandboxerProcess died, int status)
    {
        _restarts++;
        _failures = died.ReadyAt != 0 && Environment.TickCount64 - died.ReadyAt > GoodTime.TotalMilliseconds ? 0 : _failures + 1;
        var pause = Pauses[Math.Clamp(_failures - 1, 0, Pauses.Length - 1)];
        Died(_logger, died.ProcessId, status, pause);
        if (pause == TimeSpan.Zero)
        {
            StartSandboxer(_binary!);
        }
        else
        {
            _timers.After(pause, () => StartSandboxer(_binary!));
        }
    }

    private void Stop()
    {
        _stopping = true;
        _standby?.Kill();
        if (_active is not { } active)
        {
            End(0);
            return;
        }
        active.Send(_writer.Begin(PacketKind.Stop));
        _timers.After(StopLimit, active.Kill);
    }

    [LoggerMessage(EventId = 610, Level = LogLevel.Error, Message = "{Binary} could not be started; trying again")]
    private static partial void NotStarted(ILogger logger, Exception e, string binary);

    [LoggerMessage(EventId = 611, Level = LogLevel.Error, Message = "Sandboxer {Pid} does not come to serve; it is ended and started again")]
    private static partial void Hangs(ILogger logger, int pid);

    [LoggerMessage(EventId = 612, Level = LogLevel.Information, Message = "Sandboxer {Pid}, version {Version}, serves; the keeper holds its connections")]
    private static partial void Serves(ILogger logger, int pid, string version);

    [LoggerMessage(EventId = 613, Level = LogLevel.Error, Message = "Sandboxer {Pid} has died with status {Status}; the next one is started after {Pause}")]
    private static partial void Died(ILogger logger, int pid, int status, TimeSpan pause);
}
