namespace Kuasar.Protocol.Soak;

/// <summary>Makes one call after the other, of every kind, and checks what comes of each.</summary>
internal sealed partial class Caller
{
    /// <summary>No call here takes this long.</summary>
    private static readonly TimeSpan Hang = TimeSpan.FromSeconds(60);

    private readonly TtrpcClient _client;
    private readonly Peer.PeerClient _peer;
    private readonly LaneRules _rules;
    private readonly Tally _tally;
    private readonly Random _random;

    internal Caller(TtrpcClient client, LaneRules rules, Tally tally, int seed)
    {
        _client = client;
        _peer = new Peer.PeerClient(client);
        _rules = rules;
        _tally = tally;
        _random = new Random(seed);
    }

    internal async Task RunAsync(CancellationToken end)
    {
        while (!end.IsCancellationRequested)
        {
            await StepAsync(Choose());
            if (_rules.Pause > 0)
            {
                await Task.Delay(_random.Next(_rules.Pause + 1), CancellationToken.None);
            }
        }
    }

    private async Task StepAsync(Step step)
    {
        StatusCode code;
        var detail = "";
        try
        {
            await step.Run().WaitAsync(Hang);
            code = StatusCode.OK;
        }
        catch (RpcException error)
        {
            (code, detail) = (error.StatusCode, error.Status.Detail);
        }
        catch (Exception error) // a wrong result, a call that hangs, or an exception that is no call's
        {
            _tally.Mistake($"{step.Name}: {error}");
            return;
        }
        _tally.Count(code);
        if (code == StatusCode.Unavailable ? !await IsGoneAsync() : code != step.Expected && !step.Allowed.Contains(code))
        {
            _tally.Mistake($"{step.Name}: {code} '{detail}', not {step.Expected}");
        }
    }

    // Only a connection that is gone makes a call unavailable. Callers may hear of it before the token does.
    private async Task<bool> IsGoneAsync()
    {
        for (var i = 0; i < 500 && !_client.Closed.IsCancellationRequested; i++)
        {
            await Task.Delay(10, CancellationToken.None);
        }
        return _client.Closed.IsCancellationRequested;
    }

    private Step Choose() => _random.Next(1000) switch
    {
        < 300 => new("Echo", EchoAsync),
        < 350 => new("Echo, blocking", EchoBlockingAsync),
        < 430 => Fail(),
        < 480 => new("Meta", MetaAsync),
        < 580 => new("Down", DownAsync),
        < 600 => new("Last", LastAsync),
        < 680 => new("Up", UpAsync),
        < 780 => new("Both", BothAsync),
        < 810 => new("Quit", QuitAsync, StatusCode.Aborted),
        < 830 => new("Reject", RejectAsync, StatusCode.FailedPrecondition),
        < 870 => new("Wait, deadline", WaitForDeadlineAsync, StatusCode.DeadlineExceeded),
        < 900 => new("Nap, deadline", NapPastDeadlineAsync, StatusCode.OK, StatusCode.DeadlineExceeded),
        < 930 => new("Wait, cancelled", WaitForCancelAsync, StatusCode.Cancelled),
        < 960 => new("Down, cancelled", DownCancelledAsync, StatusCode.OK, StatusCode.Cancelled),
        < 975 => new("Both, cancelled", BothCancelledAsync, StatusCode.OK, StatusCode.Cancelled),
        < 980 => new("Up, disposed", UpDisposedAsync, StatusCode.Cancelled),
        < 990 => new("Echo, too large", EchoTooLargeAsync, StatusCode.ResourceExhausted),
        // Go answers that by closing the connection, and not every connection shall end so.
        _ when _rules.IsGo && _random.Next(100) != 0 => new("Echo", EchoAsync),
        _ => new("Give, too large", GiveTooLargeAsync, _rules.IsGo ? StatusCode.Unavailable : StatusCode.ResourceExhausted),
    };

    private sealed record Step(string Name, Func<Task> Run, StatusCode Expected = StatusCode.OK, params StatusCode[] Allowed);
}
