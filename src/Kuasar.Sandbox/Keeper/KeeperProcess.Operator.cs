using System.Globalization;

namespace Kuasar.Sandbox.Keeper;

/// <content>What an operator asks for.</content>
internal sealed partial class KeeperProcess
{
    private OperatorSocket? _operators;

    private void OnOperator(OperatorCall call, string line)
    {
        var words = line.Split(' ', 3);
        if (words is ["status"])
        {
            call.Finish(Status());
        }
        else if (words is ["upgrade", var deadline, var binary] && int.TryParse(deadline, NumberStyles.None, CultureInfo.InvariantCulture, out var milliseconds))
        {
            BeginUpgrade(call, binary, TimeSpan.FromMilliseconds(milliseconds));
        }
        else
        {
            call.Finish("failed: the keeper does not know this command");
        }
    }

    private string Status()
    {
        var connections = _listeners.Values.SelectMany(listener => listener.Connections).ToArray();
        return string.Create(CultureInfo.InvariantCulture,
            $"sandboxer={_active?.ProcessId ?? 0} stage={_active?.Stage.ToString() ?? "None"} version={_active?.Version} restarts={_restarts} " +
            $"listeners={_listeners.Count} connections={connections.Length} calls={connections.Sum(c => c.Calls.Count)} " +
            $"bytes={connections.Sum(c => c.Bytes)} handles={_handles.Count} exits={_exits.Count} keeper-upgrades={_keeperUpgrades}");
    }
}
