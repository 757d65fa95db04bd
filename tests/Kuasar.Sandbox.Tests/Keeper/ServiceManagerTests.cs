using System.Net.Sockets;
using System.Text;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Win32.SafeHandles;
using Task = System.Threading.Tasks.Task;
using TaskClient = Kuasar.Protocol.Contracts.TaskV3.Task.TaskClient;

namespace Kuasar.Sandbox.Tests.Keeper;

/// <summary>systemd's side of the fd store, played on a socket: what it is told, and what it gives back to the next keeper.</summary>
public sealed class ServiceManagerTests : IDisposable
{
    private readonly Bed _bed = new();
    private readonly Socket _notify = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private readonly Dictionary<string, SafeFileHandle> _store = [];
    private readonly List<string> _told = [];

    public ServiceManagerTests() => _notify.Bind(new UnixDomainSocketEndPoint(_bed.PathOf("notify")));

    public void Dispose()
    {
        foreach (var handle in _store.Values)
        {
            handle.Dispose();
        }
        _notify.Dispose();
        _bed.Dispose();
    }

    private string Run => _bed.PathOf("run");

    /// <summary>As systemd starts a service: the store from fd 3 on, and LISTEN_PID, which only the process itself knows.</summary>
    private HostProcess StartKeeper()
    {
        Directory.CreateDirectory(Run);
        var names = string.Join(':', _store.Keys);
        var command = $"NOTIFY_SOCKET={_bed.PathOf("notify")} LISTEN_PID=$$ LISTEN_FDS={_store.Count} LISTEN_FDNAMES='{names}' exec {KeeperBed.Binary("v1")} {Puppet.Command} {Run}";
        return _bed.Processes.Start(new SpawnRequest("/bin/sh", ["-c", command]) { Handles = [null, null, null, .. _store.Values], NewSession = true });
    }

    private async Task ListenAsync(Func<bool> until)
    {
        using var socket = new SafeFileHandle(_notify.Handle, ownsHandle: false);
        await Within.Until(() =>
        {
            var buffer = new byte[4096];
            for (int count; (count = Libc.ReceivePacket(socket, buffer, out var handle)) > 0;)
            {
                Take(Encoding.UTF8.GetString(buffer, 0, count), handle);
            }
            return until();
        }, "the service manager was told");
    }

    private void Take(string text, SafeFileHandle? handle)
    {
        _told.Add(text);
        var name = text.Split('\n').FirstOrDefault(line => line.StartsWith("FDNAME=", StringComparison.Ordinal))?["FDNAME=".Length..];
        if (text.StartsWith("FDSTORE=1\n", StringComparison.Ordinal))
        {
            _store.Add(name!, handle!);
        }
        else if (text.StartsWith("FDSTOREREMOVE=1\n", StringComparison.Ordinal) && _store.Remove(name!, out var removed))
        {
            removed.Dispose();
        }
    }

    [Fact]
    public async Task Sockets_and_handles_outlive_a_keeper_that_was_killed()
    {
        using (var first = StartKeeper())
        {
            await ListenAsync(() => _told.Contains("READY=1"));
            await using var client = await TtrpcClient.ConnectAsync(Path.Combine(Run, "task.sock"));
            await new TaskClient(client).PauseAsync(new PauseRequest { Id = "pipe" }).ResponseAsync.InTime();
            await ListenAsync(() => _store.Count == 3);
            first.Signal(Libc.SIGKILL);
            await first.Exited.InTime();
        }
        Assert.Equal(["h/pipe/read", "h/pipe/write", "l" + Path.Combine(Run, "task.sock")], _store.Keys.Order(StringComparer.Ordinal));
        _told.Clear();
        // Nobody accepts now; the backlog of the socket does.
        var connecting = TtrpcClient.ConnectAsync(Path.Combine(Run, "task.sock"));

        using var second = StartKeeper();

        await using var next = await connecting.AsTask().InTime();
        await new TaskClient(next).ResumeAsync(new ResumeRequest { Id = "pipe" }).ResponseAsync.InTime();
        second.Signal(Libc.SIGTERM);
        await second.Exited.InTime();
        await ListenAsync(() => !_store.ContainsKey("l" + Path.Combine(Run, "task.sock")));
    }
}
