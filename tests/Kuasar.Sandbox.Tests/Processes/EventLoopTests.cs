using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Processes;

public sealed class EventLoopTests : IDisposable
{
    private readonly EventLoop _loop = new(NullLogger.Instance);
    private readonly SafeFileHandle _read;
    private readonly SafeFileHandle _write;

    public EventLoopTests() => (_read, _write) = Libc.Pipe();

    public void Dispose()
    {
        _loop.Dispose();
        _read.Dispose();
        _write.Dispose();
    }

    [Fact]
    public async Task Readiness_is_told_again_until_it_is_consumed()
    {
        var calls = 0;
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var registration = _loop.Register(_read, EventLoop.In, events =>
        {
            Assert.Equal(EventLoop.In, events);
            if (++calls == 3)
            {
                Libc.Read(_read, new byte[8]);
                done.SetResult();
            }
        });

        Libc.Write(_write, "x"u8);

        await done.Task.InTime();
        Assert.Equal(3, calls);
    }

    [Fact]
    public async Task A_registration_can_be_changed_and_ended_from_its_own_callback()
    {
        List<uint> seen = [];
        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        EventLoop.Registration registration = null!;
        Lock started = new();
        lock (started)
        {
            registration = _loop.Register(_read, EventLoop.In, events =>
            {
                lock (started)
                {
                    seen.Add(events);
                    if (seen.Count == 1)
                    {
                        // Readable still, but nobody asks for that any more: only the hang-up may come.
                        registration.Modify(0);
                        _write.Dispose();
                    }
                    else
                    {
                        registration.Dispose();
                        done.SetResult();
                    }
                }
            });
            Libc.Write(_write, "x"u8);
        }
        await done.Task.InTime();

        Assert.Equal([EventLoop.In, EventLoop.HangUp], seen);
        await QuietAsync();
        Assert.Equal(2, seen.Count);
    }

    [Fact]
    public async Task A_callback_can_end_another_registration_of_the_same_batch()
    {
        // All become ready while the loop is held in a callback: they come in one batch, and the first ends the rest.
        var pipes = Enumerable.Range(0, 10).Select(_ => Libc.Pipe()).ToArray();
        List<EventLoop.Registration> registrations = [];
        var calls = 0;
        var held = new ManualResetEventSlim();
        var go = new ManualResetEventSlim();
        using var hold = _loop.Register(_read, EventLoop.In, _ =>
        {
            Libc.Read(_read, new byte[8]);
            held.Set();
            go.Wait(Within.Limit);
        });
        Libc.Write(_write, "x"u8);
        Assert.True(held.Wait(Within.Limit));
        foreach (var (read, write) in pipes)
        {
            registrations.Add(_loop.Register(read, EventLoop.In, _ =>
            {
                calls++;
                registrations.ForEach(registration => registration.Dispose());
            }));
            Libc.Write(write, "x"u8);
        }
        go.Set();
        await QuietAsync();

        Assert.Equal(1, calls);
        foreach (var (read, write) in pipes)
        {
            read.Dispose();
            write.Dispose();
        }
    }

    [Fact]
    public async Task A_callback_that_throws_is_watched_no_more_and_stops_nobody_else()
    {
        var (read, write) = Libc.Pipe();
        var throws = 0;
        using var broken = _loop.Register(_read, EventLoop.In, _ =>
        {
            throws++;
            throw new InvalidOperationException("broken on purpose");
        });
        Libc.Write(_write, "x"u8);
        await Within.Until(() => throws > 0);

        var other = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using (var registration = _loop.Register(read, EventLoop.In, _ => other.TrySetResult()))
        {
            Libc.Write(write, "x"u8);
            await other.Task.InTime();
        }
        await QuietAsync();
        Assert.Equal(1, throws);
        read.Dispose();
        write.Dispose();
    }

    [Fact]
    public async Task Three_hundred_fds_are_each_told()
    {
        var pipes = Enumerable.Range(0, 300).Select(_ => Libc.Pipe()).ToArray();
        var told = pipes.Select(_ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).ToArray();
        var registrations = pipes.Select((pipe, i) => _loop.Register(pipe.Read, EventLoop.In, _ =>
        {
            Libc.Read(pipe.Read, new byte[8]);
            told[i].SetResult();
        })).ToArray();

        foreach (var (_, write) in pipes)
        {
            Libc.Write(write, "x"u8);
        }

        await Task.WhenAll(told.Select(t => t.Task)).InTime();
        for (var i = 0; i < pipes.Length; i++)
        {
            registrations[i].Dispose();
            pipes[i].Read.Dispose();
            pipes[i].Write.Dispose();
        }
    }

    [Fact]
    public void After_its_end_nothing_can_be_registered_and_what_was_can_still_be_disposed()
    {
        var registration = _loop.Register(_read, EventLoop.In, _ => { });
        _loop.Dispose();
        // Takes the number of the loop's own fd.
        var (read, write) = Libc.Pipe();

        registration.Modify(EventLoop.Out);
        registration.Dispose();
        Assert.Throws<ObjectDisposedException>(() => _loop.Register(_read, EventLoop.In, _ => { }));
        read.Dispose();
        write.Dispose();
    }

    /// <summary>Every event that was there before this call has been told when it returns.</summary>
    private async Task QuietAsync()
    {
        for (var i = 0; i < 3; i++)
        {
            var (read, write) = Libc.Pipe();
            var told = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            using (var registration = _loop.Register(read, EventLoop.In | EventLoop.EdgeTriggered, _ => told.TrySetResult()))
            {
                Libc.Write(write, "x"u8);
                await told.Task.InTime();
            }
            read.Dispose();
            write.Dispose();
        }
    }
}
