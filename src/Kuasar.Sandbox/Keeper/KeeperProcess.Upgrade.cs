using System.Diagnostics;
using System.Globalization;
using Kuasar.Linux;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Keeper;

/// <summary>Where an upgrade stands.</summary>
internal enum UpgradeStage : byte
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>The new sandboxer starts, as far as it can without the state. The old one serves.</summary>
    Standby,

    /// <summary>New requests are held back until the old one has nothing in hand that nobody may ask again.</summary>
    Draining,

    /// <summary>The old one ends.</summary>
    Stopping,

    /// <summary>The new one takes over.</summary>
    TakingOver,

    /// <summary>The new one has failed; the old binary is started.</summary>
    RollingBack,
}

/// <content>
/// The upgrade of the sandboxer. Until the old one is told to end, giving up costs nothing; after that, giving up is to start the old
/// binary again.
/// <code>
/// None -> Standby -> Draining -> Stopping -> TakingOver -> None, then the keeper's own
///            \__________\ (fails: the old one goes on)    \__ RollingBack -> None (failed)
/// </code>
/// </content>
internal sealed partial class KeeperProcess
{
    private static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(10), PeaceLimit = TimeSpan.FromSeconds(3);

    private UpgradeStage _upgrade;
    private OperatorCall? _upgradeCall;
    private KeeperTimers.Entry? _upgradeTimer;
    private KeeperBinary? _newBinary;
    private TimeSpan _upgradeDeadline;
    private string _oldVersion = "", _failure = "";
    private long _heldSince;

    private bool OnUpgrade => _upgrade != UpgradeStage.None;

    private void BeginUpgrade(OperatorCall call, string path, TimeSpan deadline)
    {
        if (OnUpgrade || _stopping || _active is not { Stage: SandboxerStage.Ready })
        {
            call.Finish("failed: " + (OnUpgrade ? "another upgrade is under way" : "the sandboxer is not serving at this moment"));
            return;
        }
        try
        {
            _newBinary = KeeperBinary.Open(path.Length == 0 ? _binary!.Path : path);
            _standby = Spawn(_newBinary);
        }
        catch (IOException e)
        {
            _newBinary?.Dispose();
            _newBinary = null;
            call.Finish($"failed: {e.Message}; the old sandboxer serves on");
            return;
        }
        (_upgradeCall, _upgradeDeadline, _oldVersion, _failure) = (call, deadline, _active.Version, "");
        Enter(UpgradeStage.Standby, deadline, () => Abandon("the new sandboxer did not start within the deadline"));
    }

    private void Enter(UpgradeStage stage, TimeSpan limit, Action onLimit)
    {
        _upgrade = stage;
        _upgradeTimer?.Cancel();
        _upgradeTimer = _timers.After(limit, onLimit);
    }

    private void OnStandbyWaits()
    {
        if (_upgrade != UpgradeStage.Standby)
        {
            return;
        }
        _heldSince = Stopwatch.GetTimestamp();
        _context.Holding = true;
        _context.Answered = OnAnswered;
        Enter(UpgradeStage.Draining, DrainLimit < _upgradeDeadline ? DrainLimit : _upgradeDeadline, () => Abandon("calls that are under way do not end"));
        OnAnswered();
    }

    private void OnAnswered()
    {
        if (_upgrade != UpgradeStage.Draining || _listeners.Values.Any(listener => listener.Connections.Any(connection => connection.HasActs)))
        {
            return;
        }
        _context.Answered = null;
        var old = _active!;
        OnLeaving(old);
        Enter(UpgradeStage.Stopping, PeaceLimit, old.Kill);
        old.Send(_writer.Begin(PacketKind.Stop));
    }

    /// <summary>True when that is a part of an upgrade.</summary>
    private bool OnActiveDiedInUpgrade(SandboxerProcess died)
    {
        switch (_upgrade)
        {
            case UpgradeStage.Draining or UpgradeStage.Stopping when _standby is { Stage: SandboxerStage.Waiting } next:
                _context.Answered = null;
                (_active, _standby) = (next, null);
                Enter(UpgradeStage.TakingOver, _upgradeDeadline, () =>
                {
                    _failure = "the new sandboxer did not serve within the deadline";
                    next.Kill();
                });
                GiveState(next);
                // Held requests go out with the connections that the new one asks for.
                _context.Holding = false;
                return true;
            case UpgradeStage.TakingOver:
                _failure = _failure.Length > 0 ? _failure : "the new sandboxer ended before it served";
                Enter(UpgradeStage.RollingBack, ReadyLimit, () => { });
                StartSandboxer(_binary!);
                return true;
            case UpgradeStage.RollingBack:
                FinishUpgrade($"failed: {_failure}, and the old one does not start; trying on");
                return false;
            case UpgradeStage.Standby or UpgradeStage.Draining or UpgradeStage.Stopping:
                Abandon("the old sandboxer died meanwhile");
                return false;
            default:
                return false;
        }
    }

    private void OnStandbyDied(int status)
    {
        if (_upgrade == UpgradeStage.Standby || _upgrade == UpgradeStage.Draining)
        {
            Abandon(string.Create(CultureInfo.InvariantCulture, $"the new sandboxer ended with status {status} before it served"));
        }
    }

    /// <summary>Before the old one was told to end: it serves on.</summary>
    private void Abandon(string reason)
    {
        _standby?.Kill();
        _context.Answered = null;
        _context.Holding = false;
        foreach (var connection in _listeners.Values.SelectMany(listener => listener.Connections).ToArray())
        {
            connection.SendHeld();
        }
        FinishUpgrade($"failed: {reason}; the old sandboxer serves on");
    }

    private void OnUpgradeReady(SandboxerProcess sender)
    {
        if (_upgrade == UpgradeStage.RollingBack)
        {
            FinishUpgrade(string.Create(
                CultureInfo.InvariantCulture, $"failed: {_failure}; rolled back to {sender.Version} after a pause of {HeldFor.TotalMilliseconds:0.0} ms"));
        }
        else if (_upgrade == UpgradeStage.TakingOver && sender == _active)
        {
            var old = _binary!;
            (_binary, _newBinary) = (_newBinary, null);
            old.Dispose();
            var text = string.Create(
                CultureInfo.InvariantCulture, $"sandboxer {_oldVersion} -> {sender.Version}, pause {HeldFor.TotalMilliseconds:0.0} ms");
            Upgraded(_logger, text);
            _upgradeTimer?.Cancel();
            _upgrade = UpgradeStage.None;
            var call = _upgradeCall!;
            _upgradeCall = null;
            ReplaceKeeper(call, text);
        }
    }

    private TimeSpan HeldFor => Stopwatch.GetElapsedTime(_heldSince);

    private void FinishUpgrade(string text)
    {
        NotUpgraded(_logger, text);
        _upgradeTimer?.Cancel();
        _upgrade = UpgradeStage.None;
        _upgradeCall?.Finish(text);
        _upgradeCall = null;
        // A standby that is being killed has it open no more.
        _newBinary?.Dispose();
        _newBinary = null;
    }

    [LoggerMessage(EventId = 620, Level = LogLevel.Information, Message = "Upgraded: {Text}")]
    private static partial void Upgraded(ILogger logger, string text);

    [LoggerMessage(EventId = 621, Level = LogLevel.Error, Message = "Upgrade {Text}")]
    private static partial void NotUpgraded(ILogger logger, string text);
}
