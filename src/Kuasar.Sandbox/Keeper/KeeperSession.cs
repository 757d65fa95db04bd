using System.Globalization;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Keeper;

/// <summary>
/// A sandboxer's end of the channel to its keeper. Packets are read on the loop's thread and sent by any. When the keeper is gone, so is
/// everything that containerd knew us by: this process ends at once, and a service manager starts both anew.
/// </summary>
internal sealed partial class KeeperSession : IExitSource, IDisposable
{
    private const uint ProtocolVersion = 1;

    /// <summary>A keeper that does not answer for so long hangs.</summary>
    internal static readonly TimeSpan AnswerLimit = TimeSpan.FromSeconds(10);

    private readonly SafeFileHandle _channel;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Lock _sending = new();
    private readonly PacketWriter _writer = new();
    private readonly byte[] _packet = new byte[16 * 1024];
    private readonly Dictionary<uint, TaskCompletionSource<Answer>> _asked = [];
    private readonly TaskCompletionSource _turn = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _stop = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly EventLoop.Registration _registration;
    private uint _lastRequest;
    private volatile bool _disposed;

    private KeeperSession(SafeFileHandle channel, EventLoop loop, TimeProvider time, ILogger logger, string version)
    {
        (_channel, _time, _logger) = (channel, time, logger);
        Libc.SetCloseOnExec(channel, true);
        Transports = new KeeperTransports(this);
        Handles = new KeeperHandleStore(this);
        _registration = loop.Register(channel, EventLoop.In, _ => Receive());
        Send(writer => writer.Begin(PacketKind.Hello).Number(ProtocolVersion).Text(version));
    }

    internal KeeperTransports Transports { get; }

    internal KeeperHandleStore Handles { get; }

    /// <summary>Ends when the keeper gives the state to us; until then another sandboxer has it.</summary>
    internal Task Turn => _turn.Task;

    /// <summary>Ends when the keeper tells us to end in peace.</summary>
    internal Task StopAsked => _stop.Task;

    /// <summary>Whether a keeper has started this process; the answer is the same until <see cref="TryOpen"/>.</summary>
    internal static bool IsThere => Environment.GetEnvironmentVariable(SandboxerProcess.ChannelVariable) is not null;

    /// <summary>Null when no keeper has started this process. Once a process.</summary>
    internal static KeeperSession? TryOpen(EventLoop loop, TimeProvider time, ILogger logger, string version) =>
        KeeperEnvironment.Take(SandboxerProcess.ChannelVariable) is { } fd
            ? new KeeperSession(new SafeFileHandle(int.Parse(fd, CultureInfo.InvariantCulture), ownsHandle: true), loop, time, logger, version)
            : null;

    /// <summary>We serve.</summary>
    internal void Ready() => Send(writer => writer.Begin(PacketKind.Ready));

    /// <summary>We are about to close our connections, and containerd is not to know.</summary>
    internal void Leaving() => Send(writer => writer.Begin(PacketKind.Leaving));

    public void Watch(int pid, ulong start) => Send(writer => writer.Begin(PacketKind.Watch).Number((uint)pid).Long(start));

    public void Release(int pid, ulong start) => Send(writer => writer.Begin(PacketKind.Release).Number((uint)pid).Long(start));

    public async Task<ExitStatus> EndOfAsync(int pid, ulong start)
    {
        try
        {
            var answer = await AskAsync((writer, request) => writer.Begin(PacketKind.EndOf).Number(request).Number((uint)pid).Long(start)).ConfigureAwait(false);
            if (answer.Known)
            {
                return new ExitStatus((uint)answer.Status, answer.Time);
            }
        }
        catch (TimeoutException)
        {
            // Known or not: it has ended, and nobody can say more.
        }
        return new ExitStatus(ExitStatus.UnknownCode, _time.GetUtcNow());
    }

    /// <exception cref="TimeoutException">The keeper does not answer.</exception>
    internal Task<Answer> AskAsync(Action<PacketWriter, uint> write)
    {
        var source = new TaskCompletionSource<Answer>(TaskCreationOptions.RunContinuationsAsynchronously);
        uint request;
        lock (_asked)
        {
            request = ++_lastRequest;
            _asked.Add(request, source);
        }
        Send(writer => write(writer, request));
        return source.Task.WaitAsync(AnswerLimit, _time);
    }

    internal void Send(Action<PacketWriter> write, SafeFileHandle? handle = null)
    {
        lock (_sending)
        {
            if (!_disposed)
            {
                write(_writer);
                // Waits while the keeper is busy. If it is gone, the loop hears of it.
                Libc.SendPacket(_channel, _writer.Written, handle, wait: true);
            }
        }
    }

    private void Receive()
    {
        for (var i = 0; i < 64; i++)
        {
            var count = Libc.ReceivePacket(_channel, _packet, out var handle);
            if (count == -Libc.EAGAIN)
            {
                return;
            }
            if (count <= 0)
            {
                KeeperGone(_logger);
                Libc.ExitNow(1);
            }
            var reader = new PacketReader(_packet.AsSpan(0, count));
            Take(ref reader, handle);
        }
    }

    private void Take(ref PacketReader packet, SafeFileHandle? handle)
    {
        switch (packet.Kind())
        {
            case PacketKind.Stored when handle is not null:
                Handles.Restore(packet.Text(), handle);
                break;
            case PacketKind.TakeOver:
                _turn.TrySetResult();
                break;
            case PacketKind.Listening:
                Complete(packet.Number(), new Answer { Errno = (int)packet.Number(), Handle = handle });
                break;
            case PacketKind.Connection when handle is not null:
                Transports.Take(packet.Text(), new PeerIdentity((int)packet.Number(), packet.Number(), packet.Number()), handle);
                break;
            case PacketKind.Ended:
                Complete(packet.Number(), new Answer
                {
                    Known = packet.Number() != 0,
                    Status = (int)packet.Number(),
                    Time = DateTimeOffset.FromUnixTimeMilliseconds((long)packet.Long()),
                });
                break;
            case PacketKind.Stop:
                _stop.TrySetResult();
                break;
            default:
                handle?.Dispose();
                break;
        }
    }

    private void Complete(uint request, Answer answer)
    {
        TaskCompletionSource<Answer>? source;
        lock (_asked)
        {
            _asked.Remove(request, out source);
        }
        if (source is null || !source.TrySetResult(answer))
        {
            answer.Handle?.Dispose();
        }
    }

    public void Dispose()
    {
        lock (_sending)
        {
            _disposed = true;
        }
        _registration.Dispose();
        _channel.Dispose();
        Handles.Dispose();
    }

    /// <summary>To a question: of Listen the first two, of EndOf the rest.</summary>
    internal sealed record Answer
    {
        internal int Errno { get; init; }

        internal SafeFileHandle? Handle { get; init; }

        internal bool Known { get; init; }

        internal int Status { get; init; }

        internal DateTimeOffset Time { get; init; }
    }

    [LoggerMessage(EventId = 640, Level = LogLevel.Error, Message = "The keeper is gone; the sandboxer ends with it")]
    private static partial void KeeperGone(ILogger logger);
}
