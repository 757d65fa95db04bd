using System.Globalization;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>How far a sandboxer has come.</summary>
internal enum SandboxerStage : byte
{
    /// <summary>Started; it has not said anything.</summary>
    Started,

    /// <summary>It has said hello, and waits to be told that the state is its own.</summary>
    Waiting,

    /// <summary>It takes over.</summary>
    TakingOver,

    /// <summary>It serves.</summary>
    Ready,

    /// <summary>It is on its way out.</summary>
    Leaving,
}

/// <summary>
/// A sandboxer as its keeper sees it: a child with a channel. Ends by being reaped, which the keeper tells; the channel alone means nothing.
/// Used by the loop's thread alone.
/// </summary>
internal sealed class SandboxerProcess : IDisposable
{
    /// <summary>Tells a process started by a keeper so; its value is the fd of the channel.</summary>
    internal const string ChannelVariable = "KUASAR_KEEPER_FD";

    private const int ChannelFd = 3;

    private readonly EventLoop.Registration _registration;
    private readonly Queue<(byte[] Packet, SafeFileHandle? Handle, bool Owned)> _waiting = new();
    private readonly byte[] _packet = new byte[16 * 1024];
    private bool _channelClosed;

    /// <param name="loop">The keeper's loop.</param>
    /// <param name="processId">The child.</param>
    /// <param name="channel">The keeper's end; owned from here on.</param>
    /// <param name="binary">What it runs; owned by the keeper.</param>
    internal SandboxerProcess(EventLoop loop, int processId, SafeFileHandle channel, KeeperBinary binary)
    {
        (ProcessId, Channel, Binary) = (processId, channel, binary);
        _registration = loop.Register(channel, EventLoop.In, OnChannel);
    }

    internal delegate void PacketHandler(SandboxerProcess sender, ref PacketReader packet, PacketKind kind, SafeFileHandle? handle);

    internal int ProcessId { get; }

    internal SafeFileHandle Channel { get; }

    internal KeeperBinary Binary { get; }

    internal SandboxerStage Stage { get; set; }

    /// <summary>What it said of itself.</summary>
    internal string Version { get; set; } = "";

    internal long ReadyAt { get; set; }

    /// <summary>Nothing waits to be sent.</summary>
    internal bool IsIdle => _waiting.Count == 0;

    /// <summary>Told of each packet; owns the fd that came with it. Set before the loop runs on.</summary>
    internal PacketHandler? Received { get; set; }

    /// <summary>Starts a child in a session of its own, which no Ctrl-C reaches, with our standard streams and its end of a channel.</summary>
    internal static SandboxerProcess Start(EventLoop loop, KeeperBinary binary, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        var (mine, theirs) = Libc.SocketPair(packets: true);
        using (theirs)
        using (var input = new SafeFileHandle(0, ownsHandle: false))
        using (var output = new SafeFileHandle(1, ownsHandle: false))
        using (var error = new SafeFileHandle(2, ownsHandle: false))
        {
            var pid = Libc.Spawn(new SpawnRequest(binary.ExecutablePath, arguments)
            {
                Name = binary.Path,
                Handles = [input, output, error, theirs],
                Environment = [.. environment, $"{ChannelVariable}={ChannelFd.ToString(CultureInfo.InvariantCulture)}"],
                NewSession = true,
            });
            return new SandboxerProcess(loop, pid, mine, binary);
        }
    }

    /// <summary>Sends in order; what the socket does not take now waits.</summary>
    /// <param name="packet">Copied.</param>
    /// <param name="handle">Goes with it; null for none.</param>
    /// <param name="owned">The handle is closed once it is sent.</param>
    internal void Send(PacketWriter packet, SafeFileHandle? handle = null, bool owned = false)
    {
        if (!_channelClosed && (_waiting.Count > 0 || Libc.SendPacket(Channel, packet.Written, handle, wait: false) == -Libc.EAGAIN))
        {
            _waiting.Enqueue((packet.Written.ToArray(), handle, owned));
            _registration.Modify(EventLoop.In | EventLoop.Out);
            return;
        }
        if (owned)
        {
            handle?.Dispose();
        }
    }

    internal void Kill() => Libc.Kill(ProcessId, Libc.SIGKILL); // our child, and not reaped: the pid is its own

    private void OnChannel(uint events)
    {
        if ((events & EventLoop.Out) != 0)
        {
            Flush();
        }
        if ((events & (EventLoop.In | EventLoop.HangUp | EventLoop.Error)) == 0)
        {
            return;
        }
        // Several a turn, but not for ever: others wait too.
        for (var i = 0; i < 64 && !_channelClosed; i++)
        {
            var count = Libc.ReceivePacket(Channel, _packet, out var handle);
            if (count == -Libc.EAGAIN)
            {
                return;
            }
            if (count <= 0)
            {
                _channelClosed = true;
                _registration.Dispose();
                return;
            }
            var reader = new PacketReader(_packet.AsSpan(0, count));
            Received!(this, ref reader, reader.Kind(), handle);
        }
    }

    private void Flush()
    {
        while (_waiting.TryPeek(out var next))
        {
            var error = Libc.SendPacket(Channel, next.Packet, next.Handle, wait: false);
            if (error == -Libc.EAGAIN)
            {
                return;
            }
            _waiting.Dequeue();
            if (next.Owned)
            {
                next.Handle?.Dispose();
            }
        }
        _registration.Modify(EventLoop.In);
    }

    public void Dispose()
    {
        _channelClosed = true;
        _registration.Dispose();
        Channel.Dispose();
        foreach (var (_, handle, owned) in _waiting)
        {
            if (owned)
            {
                handle?.Dispose();
            }
        }
        _waiting.Clear();
    }
}
