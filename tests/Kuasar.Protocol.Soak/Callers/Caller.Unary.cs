using System.Globalization;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Soak;

/// <content>Unary calls.</content>
internal sealed partial class Caller
{
    private static long s_sizes;

    private async Task EchoAsync()
    {
        var message = Messages.Blob(Size());
        Check(message.Equals(await _peer.EchoAsync(message, deadline: MaybeFar())), "another message came back");
    }

    private Task EchoBlockingAsync()
    {
        var message = Messages.Blob(_random.Next(1000));
        // The pool's threads are the library's as well; who blocks does it on his own.
        return Task.Factory.StartNew(
            () => Check(message.Equals(_peer.Echo(message, deadline: MaybeFar())), "another message came back"),
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    private Step Fail()
    {
        var code = _random.Next(1, 17);
        // UNAVAILABLE of a handler is no connection's end; FailAsync tells them apart.
        var expected = code == (int)StatusCode.Unavailable ? StatusCode.Unknown : (StatusCode)code;
        return new($"Fail {code}", () => FailAsync(code), expected);
    }

    private async Task FailAsync(int code)
    {
        var status = new RpcStatus { Code = code, Message = $"méssage {_random.Next()}" };
        status.Details.Add(Any.Pack(Messages.Blob(_random.Next(100))));
        try
        {
            await _peer.FailAsync(Messages.Bytes(status.ToByteArray()));
        }
        catch (RpcException error) when (error.StatusCode == (StatusCode)code && error.Trailers.Count > 0)
        {
            var got = RpcStatus.Parser.ParseFrom(error.Trailers.GetValueBytes("grpc-status-details-bin"));
            Check(status.Equals(got), "another status came back");
            throw code == (int)StatusCode.Unavailable ? new RpcException(new Status(StatusCode.Unknown, "")) : error;
        }
    }

    private async Task MetaAsync()
    {
        var values = Enumerable.Range(0, _random.Next(1, 5)).Select(i => $"ü {i} {_random.Next()}").ToArray();
        var headers = new Metadata { { "other", "x" } };
        foreach (var value in values)
        {
            headers.Add("kuasar-key", value);
        }
        var got = (await _peer.MetaAsync(Messages.Text("kuasar-key"), headers)).ToText();
        Check(got == string.Join(Messages.Separator, values), $"the metadata were '{got}'");
    }

    private async Task WaitForDeadlineAsync() => await _peer.WaitAsync(Messages.Text(""), deadline: Soon(50));

    /// <summary>The answer comes about as the deadline passes; either may win, and the loser goes nowhere.</summary>
    private async Task NapPastDeadlineAsync()
    {
        var milliseconds = _random.Next(1, 20);
        var got = await _peer.NapAsync(Messages.Text(Messages.Number(milliseconds)), deadline: Soon(2 * milliseconds));
        Check(got.ToNumber() == milliseconds, "another message came back");
    }

    private async Task WaitForCancelAsync()
    {
        using var source = new CancellationTokenSource(_random.Next(20));
        await _peer.WaitAsync(Messages.Text(""), cancellationToken: source.Token);
    }

    private async Task EchoTooLargeAsync() => await _peer.EchoAsync(Messages.Blob(Messages.Limit));

    private async Task GiveTooLargeAsync() =>
        await _peer.GiveAsync(Messages.Text((Messages.Limit - 9).ToString(CultureInfo.InvariantCulture)));

    // Mostly small, at times as large as can be: at first too, so that the buffers that are pooled for those are there before memory is judged.
    private int Size() => Interlocked.Increment(ref s_sizes) <= 8 ? Messages.Limit - 64 : _random.Next(5000) switch
    {
        < 4500 => _random.Next(1000),
        < 4990 => _random.Next(64 << 10),
        < 4999 => _random.Next(1 << 20),
        _ => Messages.Limit - 64,
    };

    private DateTime? MaybeFar() => _random.Next(2) == 0 ? null : DateTime.UtcNow.AddMinutes(5);

    private DateTime Soon(int milliseconds) => DateTime.UtcNow.AddMilliseconds(_random.Next(1, milliseconds + 1));

    private static void Check(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new InvalidDataException(otherwise);
        }
    }
}
