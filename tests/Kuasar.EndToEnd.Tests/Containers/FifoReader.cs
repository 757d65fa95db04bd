using System.Text;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>Reads a fifo to its end, that is until no writer is left, as a containerd client does.</summary>
internal sealed class FifoReader : IAsyncDisposable
{
    private readonly MemoryStream _content = new();
    private readonly Task _reading;
    private readonly TimeSpan _pause;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool _stop;

    /// <summary>Reads from now on; a slow reader pauses after each read.</summary>
    internal FifoReader(string path, TimeSpan pause = default)
    {
        _pause = pause;
        var file = Libc.Open(path, Libc.O_RDONLY | Libc.O_NONBLOCK);
        _reading = Task.Factory.StartNew(() => Read(file), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    internal string Text
    {
        get
        {
            lock (_content)
            {
                return Encoding.UTF8.GetString(_content.GetBuffer(), 0, (int)_content.Length);
            }
        }
    }

    internal long Length
    {
        get
        {
            lock (_content)
            {
                return _content.Length;
            }
        }
    }

    /// <summary>All of it.</summary>
    internal async Task<string> ToEndAsync(TimeSpan? bound = null)
    {
        try
        {
            await _reading.WaitAsync(bound ?? Within.Usual);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"no end of the output within {bound ?? Within.Usual}; so far: {Tail()}");
        }
        return Text;
    }

    internal async Task<byte[]> BytesToEndAsync(TimeSpan? bound = null)
    {
        await ToEndAsync(bound);
        return _content.ToArray();
    }

    /// <summary>Waits until the output holds the text, and returns all of it so far.</summary>
    internal Task<string> UntilAsync(string text) => UntilAsync(output => output.Contains(text, StringComparison.Ordinal), $"\"{text}\"");

    internal async Task<string> UntilAsync(Func<string, bool> condition, string what)
    {
        using var bound = new CancellationTokenSource(Within.Usual);
        while (true)
        {
            Task changed;
            lock (_content)
            {
                changed = _changed.Task;
            }
            if (condition(Text))
            {
                return Text;
            }
            if (_reading.IsCompleted)
            {
                throw new InvalidOperationException($"the output ended without {what}: {Tail()}");
            }
            try
            {
                await Task.WhenAny(changed, _reading).WaitAsync(bound.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"no {what} in the output within {Within.Usual}; so far: {Tail()}");
            }
        }
    }

    /// <summary>Stops reading; what has not been read stays in the fifo.</summary>
    public async ValueTask DisposeAsync()
    {
        _stop = true;
        await _reading.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private void Read(Microsoft.Win32.SafeHandles.SafeFileHandle file)
    {
        using (file)
        {
            var buffer = new byte[64 << 10];
            while (!_stop)
            {
                // Nothing at all is reported before the first writer has come.
                if (Libc.Poll(file, Libc.POLLIN, 50) == 0 || Libc.Read(file, buffer) is not { } count)
                {
                    continue;
                }
                if (count == 0)
                {
                    return;
                }
                Thread.Sleep(_pause);
                lock (_content)
                {
                    _content.Write(buffer, 0, count);
                    _changed.TrySetResult();
                    _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                }
            }
        }
    }

    private string Tail()
    {
        var text = Text;
        return text.Length > 500 ? "…" + text[^500..] : text;
    }
}
