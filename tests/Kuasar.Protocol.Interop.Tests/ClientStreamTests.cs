namespace Kuasar.Protocol.Interop.Tests;

/// <summary>Streams of our client to the Go server.</summary>
/// <remarks>Go 1.2.7 dies of data for a stream that has ended, so nothing here sends after the server's last frame.</remarks>
public abstract class ClientStreamCases(GoToolchain go) : GoServerTest(go)
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1000)]
    public async Task ServerStream(int count)
    {
        var call = Peer.Down(Messages.Text(Messages.Number(count)));
        Assert.Equal(Enumerable.Range(0, count).Select(i => Messages.Number(i)), await ReadAsync(call.ResponseStream));
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        await AssertLivesAsync();
    }

    /// <summary>An empty message has no payload in the request (containerd/ttrpc#126), and the last one comes with the end.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("last")]
    public async Task ServerStream_MessageOnTheClosingFrame(string text)
    {
        Assert.Equal([text], await ReadAsync(Peer.Last(Messages.Text(text)).ResponseStream));
        await AssertLivesAsync();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(1000)]
    public async Task ClientStream(int count)
    {
        var call = Peer.Up();
        for (var i = 0; i < count; i++)
        {
            // Every other one is empty, and empty is not the end.
            await call.RequestStream.WriteAsync(Messages.Blob(i % 2 * 10)).WaitAsync(Limit);
        }
        await call.RequestStream.CompleteAsync().WaitAsync(Limit);
        Assert.Equal($"{count} messages, {count / 2 * 10} bytes", (await call.ResponseAsync.WaitAsync(Limit)).ToText());
        await AssertLivesAsync();
    }

    [Fact]
    public async Task ClientStream_RejectedAtOnce()
    {
        var call = Peer.Reject();
        await FailsAsync(StatusCode.FailedPrecondition, call.ResponseAsync);
        // What the server no longer wants is not sent: it would not survive it.
        await FailsAsync(StatusCode.FailedPrecondition, call.RequestStream.WriteAsync(Messages.Text("a")));
        await call.RequestStream.CompleteAsync().WaitAsync(Limit);
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Both_OneAtATime()
    {
        await EchoAsync(300);
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Both_FiftyAtOnce_OnOneConnection()
    {
        await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => EchoAsync(50)));
        await AssertLivesAsync();
    }

    /// <summary>Go reads nothing of a connection while five messages of one stream wait; the answers must get out all the same.</summary>
    [Theory]
    [InlineData(2000, 10)]
    [InlineData(500, 64 << 10)]
    public async Task Both_SentAheadOfReading(int count, int size)
    {
        var message = Messages.Blob(size);
        var call = Peer.Both();
        var reading = ReadAsync();
        for (var i = 0; i < count; i++)
        {
            await call.RequestStream.WriteAsync(message).WaitAsync(Limit);
        }
        await call.RequestStream.CompleteAsync().WaitAsync(Limit);
        Assert.Equal(count, await reading.WaitAsync(Limit));
        await AssertLivesAsync();

        async Task<int> ReadAsync()
        {
            var read = 0;
            while (await call.ResponseStream.MoveNext(default))
            {
                Assert.Equal(message, call.ResponseStream.Current);
                read++;
            }
            return read;
        }
    }

    [Fact]
    public async Task Both_Boundary_FitsToTheLastByte_OneMoreDoesNot()
    {
        var call = Peer.Both();
        // A message is bare on a stream: tag and length of the bytes.
        var largest = Messages.Blob(Messages.Limit - 5);
        await call.RequestStream.WriteAsync(largest).WaitAsync(Limit);
        Assert.True(await call.ResponseStream.MoveNext(default).WaitAsync(Limit));
        Assert.Equal(largest, call.ResponseStream.Current);
        await FailsAsync(StatusCode.ResourceExhausted, call.RequestStream.WriteAsync(Messages.Blob(Messages.Limit - 4)));
        await call.RequestStream.WriteAsync(Messages.Text("a")).WaitAsync(Limit);
        await call.RequestStream.CompleteAsync().WaitAsync(Limit);
        Assert.Equal(["a"], await ReadAsync(call.ResponseStream));
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Error_ComesAfterTheMessagesBeforeIt()
    {
        var call = Peer.Quit();
        Assert.True(await call.ResponseStream.MoveNext(default).WaitAsync(Limit));
        Assert.Equal("one", call.ResponseStream.Current.ToText());
        Assert.True(await call.ResponseStream.MoveNext(default).WaitAsync(Limit));
        Assert.Equal("two", call.ResponseStream.Current.ToText());
        Assert.Equal("quit", (await FailsAsync(StatusCode.Aborted, call.ResponseStream.MoveNext(default))).Status.Detail);
        await FailsAsync(StatusCode.Unknown, Peer.Down(Messages.Text("no number")).ResponseStream.MoveNext(default));
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Deadline_TravelsWithStreams()
    {
        var call = Peer.Idle(deadline: DateTime.UtcNow.AddMilliseconds(100));
        await FailsAsync(StatusCode.DeadlineExceeded, call.ResponseStream.MoveNext(default));
        await UntilAsync(async () => await TextAsync(Peer.WaitsAsync(Messages.Text(""))) == "1 deadlines, 0 cancelled");
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Cancelled_EndsHere_WhatStillComesGoesNowhere()
    {
        using var source = new CancellationTokenSource();
        var call = Peer.Down(Messages.Text("20000"), cancellationToken: source.Token);
        Assert.True(await call.ResponseStream.MoveNext(default).WaitAsync(Limit));
        await source.CancelAsync();
        await FailsAsync(StatusCode.Cancelled, ReadAsync(call.ResponseStream));
        await AssertLivesAsync();
    }

    [Fact]
    public async Task Metadata_TravelsWithStreams()
    {
        string[] values = ["one", "", "drei: ü 世界"];
        var headers = new Metadata();
        foreach (var value in values)
        {
            headers.Add("Kuasar-Key", value);
        }
        var joined = string.Join(Messages.Separator, values);
        Assert.Equal([joined], await ReadAsync(Peer.MetaDown(Messages.Text("kuasar-key"), headers).ResponseStream));
        Assert.Equal(["none"], await ReadAsync(Peer.MetaDown(Messages.Text("kuasar-key")).ResponseStream));
        await AssertLivesAsync();
    }

    /// <summary>"PROTOCOL.md lets a server end a stream with an OK Response": a Go handler without a stream of its own does.</summary>
    [Fact]
    public async Task OkResponse_EndsAStream_WithOneMoreMessage()
    {
        var marshaller = Marshallers.Create(Google.Protobuf.MessageExtensions.ToByteArray, BytesValue.Parser.ParseFrom);
        var up = new Method<BytesValue, BytesValue>(MethodType.DuplexStreaming, "kuasar.interop.Peer", "Up", marshaller, marshaller);
        var call = Ttrpc.AsyncDuplexStreamingCall(up, null, default);
        await call.RequestStream.WriteAsync(Messages.Text("abc"));
        await call.RequestStream.CompleteAsync().WaitAsync(Limit);
        Assert.Equal(["1 messages, 3 bytes"], await ReadAsync(call.ResponseStream));
        await AssertLivesAsync();
    }

    /// <summary>More than the 8 MiB that a stream may hold, and nobody reads it: that stream fails, and nothing else.</summary>
    [Fact]
    public async Task StreamThatIsNotRead_Fails_OthersGoOn()
    {
        var call = Peer.Down(Messages.Text("200000"));
        var others = Enumerable.Range(0, 100).Select(i => TextAsync(Peer.EchoAsync(Messages.Text(Messages.Number(i))))).ToArray();
        Assert.Equal(Enumerable.Range(0, 100).Select(i => Messages.Number(i)), await Task.WhenAll(others));
        await UntilAsync(() => Task.FromResult(Ttrpc.ActiveStreams == 0));
        var error = await Assert.ThrowsAsync<RpcException>(() => ReadAsync(call.ResponseStream));
        Assert.Equal(StatusCode.ResourceExhausted, error.StatusCode);
        await AssertLivesAsync();
    }

    private async Task EchoAsync(int count)
    {
        var call = Peer.Both();
        for (var i = 0; i < count; i++)
        {
            var text = i % 3 == 0 ? "" : Messages.Number(i);
            await call.RequestStream.WriteAsync(Messages.Text(text)).WaitAsync(Limit);
            Assert.True(await call.ResponseStream.MoveNext(default).WaitAsync(Limit));
            Assert.Equal(text, call.ResponseStream.Current.ToText());
        }
        await call.RequestStream.CompleteAsync().WaitAsync(Limit);
        Assert.False(await call.ResponseStream.MoveNext(default).WaitAsync(Limit));
    }

    private static async Task<List<string>> ReadAsync(IAsyncStreamReader<BytesValue> stream)
    {
        var messages = new List<string>();
        while (await stream.MoveNext(default).WaitAsync(Limit))
        {
            messages.Add(stream.Current.ToText());
        }
        return messages;
    }
}

public sealed class ClientStreamTests(GoToolchain go) : ClientStreamCases(go);

public sealed class ClientStreamBytewiseTests(GoToolchain go) : ClientStreamCases(go)
{
    internal override bool Bytewise => true;
}
