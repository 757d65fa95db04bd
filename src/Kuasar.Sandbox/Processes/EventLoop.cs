using System.Runtime.InteropServices;
using Kuasar.Linux;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Processes;

/// <summary>
/// One epoll thread for every fd that .NET cannot wait for: pidfds, terminals, cgroup events. Callbacks run on the loop's thread:
/// they must not block and must not throw. One registration an fd; the handle stays the caller's and outlives its registration.
/// </summary>
internal sealed unsafe partial class EventLoop : IDisposable
{
    internal const uint In = 1, Out = 4, Error = 8, HangUp = 16, EdgeTriggered = 1u << 31;

    private const int AddOperation = 1, RemoveOperation = 2, ModifyOperation = 3;

    private readonly SafeFileHandle _epoll = new(Libc.Check(epoll_create1(Libc.O_CLOEXEC), "epoll_create1"), ownsHandle: true);
    private readonly SafeFileHandle _wake = new(Libc.Check(eventfd(0, Libc.O_CLOEXEC | Libc.O_NONBLOCK), "eventfd"), ownsHandle: true);
    private readonly Dictionary<ulong, Registration> _registrations = [];
    private readonly Thread _thread;
    private readonly ILogger _logger;
    private ulong _lastToken;
    private volatile bool _stopping;
    private long _wakeUps;

    internal EventLoop(ILogger logger)
    {
        _logger = logger;
        Control(AddOperation, _wake, In, 0);
        _thread = new Thread(Run, 256 * 1024) { IsBackground = true, Name = "kuasar-epoll" };
        _thread.Start();
    }

    /// <summary>How often the thread woke up; for tests of spinning.</summary>
    internal long WakeUps => Volatile.Read(ref _wakeUps);

    /// <summary>Calls back with the events that are ready until the registration is disposed. Readiness is level-triggered.</summary>
    /// <remarks>A callback may still be running, once, when Dispose returns on another thread.</remarks>
    internal Registration Register(SafeFileHandle handle, uint events, Action<uint> callback)
    {
        lock (_registrations)
        {
            ObjectDisposedException.ThrowIf(_stopping, this);
            var registration = new Registration(this, handle, ++_lastToken, callback);
            _registrations.Add(registration.Token, registration);
            try
            {
                Control(AddOperation, handle, events, registration.Token);
            }
            catch
            {
                _registrations.Remove(registration.Token);
                throw;
            }
            return registration;
        }
    }

    private void Run()
    {
        const int Batch = 64;
        var size = DataOffset + sizeof(ulong);
        var events = stackalloc byte[Batch * size];
        while (!_stopping)
        {
            var count = epoll_wait((int)_epoll.DangerousGetHandle(), events, Batch, -1);
            Volatile.Write(ref _wakeUps, _wakeUps + 1);
            for (var i = 0; i < count; i++)
            {
                var e = events + (i * size);
                Registration? registration;
                lock (_registrations)
                {
                    // Gone if an earlier callback of this batch removed it.
                    _registrations.TryGetValue(*(ulong*)(e + DataOffset), out registration);
                }
                try
                {
                    registration?.Callback(*(uint*)e);
                }
#pragma warning disable CA1031 // one broken callback must not stop everybody's exits
                catch (Exception exception)
#pragma warning restore CA1031
                {
                    CallbackFailed(_logger, exception);
                    registration?.Dispose();
                }
            }
        }
    }

    private void Control(int operation, SafeFileHandle handle, uint events, ulong token)
    {
        var e = stackalloc byte[16];
        *(uint*)e = events;
        *(ulong*)(e + DataOffset) = token;
        Libc.Check(epoll_ctl((int)_epoll.DangerousGetHandle(), operation, (int)handle.DangerousGetHandle(), e), "epoll_ctl");
    }

    public void Dispose()
    {
        if (_stopping)
        {
            return;
        }
        lock (_registrations)
        {
            _stopping = true;
        }
        Libc.Write(_wake, BitConverter.GetBytes(1UL));
        _thread.Join();
        _epoll.Dispose();
        _wake.Dispose();
    }

    internal sealed class Registration(EventLoop loop, SafeFileHandle handle, ulong token, Action<uint> callback) : IDisposable
    {
        internal ulong Token => token;

        internal Action<uint> Callback => callback;

        /// <summary>Changes what is waited for; 0 waits for errors and hang-ups alone.</summary>
        internal void Modify(uint events)
        {
            lock (loop._registrations)
            {
                if (!loop._stopping && loop._registrations.ContainsKey(token))
                {
                    loop.Control(ModifyOperation, handle, events, token);
                }
            }
        }

        public void Dispose()
        {
            lock (loop._registrations)
            {
                // Of a loop that has ended nothing is left in the kernel, and its fd's number may be another's.
                if (loop._registrations.Remove(token) && !loop._stopping && !handle.IsClosed)
                {
                    loop.Control(RemoveOperation, handle, 0, token);
                }
            }
        }
    }

    // struct epoll_event { u32 events; u64 data; } is packed on x86-64 only (EPOLL_PACKED in the kernel's eventpoll.h).
    private static readonly int DataOffset = RuntimeInformation.ProcessArchitecture == Architecture.X64 ? 4 : 8;

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_create1(int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_ctl(int epoll, int operation, int fd, byte* e);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int epoll_wait(int epoll, byte* events, int count, int timeout);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int eventfd(uint value, int flags);

    [LoggerMessage(EventId = 100, Level = LogLevel.Error, Message = "An event callback failed; its fd is no longer watched")]
    private static partial void CallbackFailed(ILogger logger, Exception e);
}
