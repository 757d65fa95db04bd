namespace Kuasar.Protocol.Soak;

/// <content>Streams.</content>
internal sealed partial class Caller
{
    private async Task DownAsync()
    {
        var count = _random.Next(50);
        using var call = _peer.Down(Messages.Text(Messages.Number(count)), deadline: MaybeFar());
        for (var i = 0; i < count; i++)
        {
            Check(await call.ResponseStream.MoveNext(default), $"the stream ended after {i} messages, not {count}");
            Check(call.ResponseStream.Current.ToNumber() == i, "the messages are out of order");
        }
        Check(!await call.ResponseStream.MoveNext(default), "one message too many");
    }

    private async Task LastAsync()
    {
        using var call = _peer.Last(Messages.Text("last"));
        Check(await call.ResponseStream.MoveNext(default), "the last message is lost");
        Check(call.ResponseStream.Current.ToText() == "last", "another message came");
        Check(!await call.ResponseStream.MoveNext(default), "one message too many");
    }

    private async Task UpAsync()
    {
        var (count, size) = (_random.Next(50), 0);
        using var call = _peer.Up(deadline: MaybeFar());
        for (var i = 0; i < count; i++)
        {
            var message = Messages.Blob(_random.Next(500));
            size += message.Value.Length;
            await call.RequestStream.WriteAsync(message);
        }
        await call.RequestStream.CompleteAsync();
        var got = (await call).ToText();
        Check(got == $"{count} messages, {size} bytes", $"the server saw {got}");
    }

    /// <summary>In step, or with all of it on its way at once.</summary>
    private async Task BothAsync()
    {
        var (count, ahead) = (_random.Next(30), _random.Next(2) == 0);
        var messages = Enumerable.Range(0, count).Select(_ => Messages.Blob(_random.Next(500))).ToArray();
        using var call = _peer.Both(deadline: MaybeFar());
        foreach (var message in messages)
        {
            await call.RequestStream.WriteAsync(message);
            if (!ahead)
            {
                await ExpectAsync(call.ResponseStream, message);
            }
        }
        await call.RequestStream.CompleteAsync();
        foreach (var message in ahead ? messages : [])
        {
            await ExpectAsync(call.ResponseStream, message);
        }
        Check(!await call.ResponseStream.MoveNext(default), "one message too many");
    }

    private async Task QuitAsync()
    {
        using var call = _peer.Quit();
        await ExpectAsync(call.ResponseStream, Messages.Text("one"));
        await ExpectAsync(call.ResponseStream, Messages.Text("two"));
        await call.ResponseStream.MoveNext(default);
    }

    /// <summary>The server has ended long before we stop sending; but Go's dies of such data.</summary>
    private async Task RejectAsync()
    {
        using var call = _peer.Reject();
        for (var i = 0; i < (_rules.IsGo ? 0 : 20); i++)
        {
            await call.RequestStream.WriteAsync(Messages.Text("late"));
        }
        await call;
    }

    private async Task DownCancelledAsync()
    {
        using var source = new CancellationTokenSource();
        using var call = _peer.Down(Messages.Text("200"), cancellationToken: source.Token);
        for (var i = _random.Next(20); i >= 0; i--)
        {
            Check(await call.ResponseStream.MoveNext(default), "the stream ended early");
        }
        await source.CancelAsync();
        while (await call.ResponseStream.MoveNext(default))
        {
            // Those that had come before.
        }
    }

    private async Task BothCancelledAsync()
    {
        using var source = new CancellationTokenSource(_random.Next(10));
        using var call = _peer.Both(cancellationToken: source.Token);
        for (var i = 0; i < 20; i++)
        {
            await call.RequestStream.WriteAsync(Messages.Text("a"));
            await ExpectAsync(call.ResponseStream, Messages.Text("a"));
        }
        await call.RequestStream.CompleteAsync();
        Check(!await call.ResponseStream.MoveNext(default), "one message too many");
    }

    private async Task UpDisposedAsync()
    {
        var call = _peer.Up();
        await call.RequestStream.WriteAsync(Messages.Text("a"));
        call.Dispose();
        await call;
    }

    private static async Task ExpectAsync(IAsyncStreamReader<BytesValue> stream, BytesValue message)
    {
        Check(await stream.MoveNext(default), "the stream ended early");
        Check(message.Equals(stream.Current), "another message came");
    }
}
