using System.Globalization;
using Kuasar.Linux;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <content>
/// The upgrade of the keeper itself: another program takes the place of this one by execve, with the same pid, children and fds. The
/// sandboxer notices nothing but that the keeper is slow for a moment. A program that cannot read the state is found out before, by
/// letting it try in a child.
/// </content>
internal sealed partial class KeeperProcess
{
    private static readonly TimeSpan CheckLimit = TimeSpan.FromSeconds(10), RetryPause = TimeSpan.FromMilliseconds(5);
    private const int MaxTries = 400;

    private int _keeperUpgrades;
    private int _checker;
    private Action<int>? _checked;

    private void ReplaceKeeper(OperatorCall call, string text)
    {
        try
        {
            using var state = KeeperState.Save(Write(text, call, []));
            _checker = Libc.Spawn(new SpawnRequest(_binary!.ExecutablePath, _arguments)
            {
                Name = _binary.Path,
                Handles = [null, null, null, state],
                Environment = [.. _environment, $"{KeeperState.CheckVariable}=3"],
                NewSession = true,
            });
        }
        catch (IOException e)
        {
            StayAsItIs(call, text, e.Message);
            return;
        }
        var checker = _checker;
        var limit = _timers.After(CheckLimit, () => Libc.Kill(checker, Libc.SIGKILL)); // not reaped: it is cancelled when it is
        _checked = status =>
        {
            limit.Cancel();
            if (status == 0)
            {
                Replace(call, text, 0);
            }
            else
            {
                StayAsItIs(call, text, "the new keeper cannot read the state of this one");
            }
        };
    }

    private void Replace(OperatorCall call, string text, int tries)
    {
        if (_stopping || tries > MaxTries)
        {
            StayAsItIs(call, text, "the sandboxer is not serving");
            return;
        }
        if (_active is not { Stage: SandboxerStage.Ready, IsIdle: true } || _exitQuestions.Count > 0)
        {
            _timers.After(RetryPause, () => Replace(call, text, tries + 1));
            return;
        }
        var handles = new List<SafeFileHandle>();
        try
        {
            using var file = KeeperState.Save(Write(text, call, handles));
            handles.Add(file);
            handles.ForEach(handle => Libc.SetCloseOnExec(handle, false));
            var fd = ((int)file.DangerousGetHandle()).ToString(CultureInfo.InvariantCulture);
            Replacing(_logger, _binary!.Path);
            throw Libc.Execute(_binary.ExecutablePath, [_binary.Path, .. _arguments], [.. _environment, $"{KeeperState.Variable}={fd}", $"{ServiceManager.SocketVariable}={_service?.Address}"]);
        }
        catch (IOException e)
        {
            handles.ForEach(handle => Libc.SetCloseOnExec(handle, true));
            StayAsItIs(call, text, e.Message);
        }
    }

    private void StayAsItIs(OperatorCall call, string text, string reason)
    {
        NotReplaced(_logger, reason);
        call.Finish($"ok: {text}; the keeper stays as it is: {reason}");
    }

    [LoggerMessage(EventId = 630, Level = LogLevel.Information, Message = "The keeper puts {Binary} in its place")]
    private static partial void Replacing(ILogger logger, string binary);

    [LoggerMessage(EventId = 631, Level = LogLevel.Warning, Message = "The keeper was not replaced and goes on: {Reason}")]
    private static partial void NotReplaced(ILogger logger, string reason);
}
