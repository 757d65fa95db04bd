using Kuasar.Vmm.Agent.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Agent;

public sealed class ReadinessTests : IAsyncDisposable
{
    private readonly Guest _guest = new();

    public ValueTask DisposeAsync() => _guest.DisposeAsync();

    [Fact]
    public async Task A_guest_that_calls_home_is_not_asked_as_well()
    {
        await using var home = _guest.Vsock.Port(AgentClient.CallHomePort).Listen();
        await using var client = _guest.Client();
        var ready = client.WaitReadyAsync(home, Wait.Limit);
        _guest.Boot();
        using (await _guest.Vsock.CallAsync(AgentClient.CallHomePort))
        {
            await ready.Within();
        }
        Assert.Equal(0, _guest.Vsock.Dials);
        await client.CheckAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_guest_that_does_not_call_is_asked_until_it_answers(bool listening)
    {
        _guest.Vsock.DriverUp = false;
        await using var home = listening ? _guest.Vsock.Port(AgentClient.CallHomePort).Listen() : null;
        await using var client = _guest.Client();
        var ready = client.WaitReadyAsync(home, Wait.Limit);
        await Task.Delay(60);
        _guest.Vsock.DriverUp = true;
        await Task.Delay(60);
        Assert.False(ready.IsCompleted);
        _guest.Boot();
        await ready.Within();
    }

    [Fact]
    public async Task A_guest_that_never_serves_costs_the_timeout_and_the_reason_is_told()
    {
        await using var client = _guest.Client();
        var error = await Assert.ThrowsAsync<VsockException>(() => client.WaitReadyAsync(null, TimeSpan.FromMilliseconds(300)).Within());
        Assert.Equal(VsockFailure.TimedOut, error.Reason);
        Assert.Contains("nobody listens", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_guest_that_accepts_and_says_nothing_costs_the_timeout()
    {
        _guest.Vsock.Listen(AgentClient.Port, static async socket => await socket.ReceiveAsync(new byte[1 << 20]));
        _guest.Vsock.Reply = "";
        await using var client = _guest.Client();
        var error = await Assert.ThrowsAsync<VsockException>(() => client.WaitReadyAsync(null, TimeSpan.FromMilliseconds(300)).Within());
        Assert.Equal(VsockFailure.TimedOut, error.Reason);
    }

    [Fact]
    public async Task The_wait_ends_with_the_guest()
    {
        await using var home = _guest.Vsock.Port(AgentClient.CallHomePort).Listen();
        await using var client = _guest.Client();
        using var ended = new CancellationTokenSource();
        var ready = client.WaitReadyAsync(home, Wait.Limit, ended.Token);
        await ended.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ready.Within());
        // The listener is whole: nobody waits on it any more.
        using var call = await _guest.Vsock.CallAsync(AgentClient.CallHomePort);
        await using var stream = await home.AcceptStreamAsync(default).Within();
        Assert.NotNull(stream);
    }
}
