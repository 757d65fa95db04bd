using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <content>
/// What a service manager keeps for the next keeper: listening sockets ("l" relayed, "r" raw) and handles ("h"). Connections are not among
/// them: without their unanswered requests they would be worth nothing.
/// </content>
internal sealed partial class KeeperProcess
{
    private ServiceManager? _service;

    private static string NameOf(KeeperListener listener) => (listener.IsRaw ? "r" : "l") + listener.Path;

    private static string HandleName(string name) => "h/" + name;

    private void OpenService()
    {
        _service = ServiceManager.TryOpen();
        foreach (var (name, handle) in ServiceManager.TakeStored())
        {
            Adopt(name, handle);
        }
    }

    private void Adopt(string name, SafeFileHandle handle)
    {
        if (name.StartsWith("h/", StringComparison.Ordinal) && _handles.TryAdd(name["h/".Length..], handle))
        {
            return;
        }
        // A socket whose file is gone cannot be reached.
        if (name is ['l' or 'r', '/', ..] && File.Exists(name[1..]) && !_listeners.ContainsKey(name[1..]))
        {
            _listeners.Add(name[1..], new KeeperListener(_context, name[1..], raw: name[0] == 'r', handle, OnAccepted));
            return;
        }
        handle.Dispose();
        _service?.Remove(name);
    }
}
