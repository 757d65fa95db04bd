using System.Text;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Protocol.Contracts.TaskV2;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Vmm.Agent.Tests.Support;
using Kuasar.Vmm.Contracts.Agent;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.Vmm.Agent.Tests.Agent;

public sealed class CallTests
{
    [Fact]
    public async Task Tasks_and_sandbox_share_a_connection_that_is_made_when_needed()
    {
        await using var guest = Guest.Booted();
        await using var client = guest.Client();
        Assert.Equal(0, guest.Vsock.Dials);
        var calls = Enumerable.Range(0, 8).Select(_ => client.Tasks.StateAsync(new StateRequest { Id = "c1" }).ResponseAsync).ToArray();
        Assert.All(await Task.WhenAll(calls).Within(), state => Assert.Equal(7u, state.Pid));
        await client.CheckAsync();
        Assert.Equal(1, guest.Vsock.Dials);
        var error = await Assert.ThrowsAsync<RpcException>(() => client.Tasks.StateAsync(new StateRequest { Id = "other" }).ResponseAsync.Within());
        Assert.Equal(StatusCode.NotFound, error.StatusCode);
    }

    [Fact]
    public async Task The_status_of_a_call_that_waited_for_its_connection_is_told()
    {
        await using var guest = Guest.Booted();
        await using var client = guest.Client();
        using var call = client.Tasks.StateAsync(new StateRequest { Id = "other" });
        await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());
        Assert.Equal(StatusCode.NotFound, call.GetStatus().StatusCode);
        Assert.Equal(7u, (await Task.Run(() => client.Tasks.State(new StateRequest { Id = "c1" })).Within()).Pid);
    }

    [Fact]
    public async Task A_lost_connection_fails_its_calls_and_the_next_call_dials()
    {
        await using var guest = Guest.Booted();
        await using var client = guest.Client();
        var wait = client.Tasks.WaitAsync(new WaitRequest { Id = "c1" }).ResponseAsync;
        await Wait.Until(() => guest.Tasks.Waits == 1);
        guest.Vsock.Cut();
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(() => wait.Within())).StatusCode);
        wait = client.Tasks.WaitAsync(new WaitRequest { Id = "c1" }).ResponseAsync;
        guest.Tasks.End.SetResult(new WaitResponse { ExitStatus = 3 });
        Assert.Equal(3u, (await wait.Within()).ExitStatus);
        Assert.Equal(2, guest.Vsock.Dials);
    }

    [Fact]
    public async Task Reconnecting_leaves_the_old_connection()
    {
        await using var guest = Guest.Booted();
        await using var client = guest.Client();
        var wait = client.Tasks.WaitAsync(new WaitRequest { Id = "c1" }).ResponseAsync;
        await Wait.Until(() => guest.Tasks.Waits == 1);
        await client.ReconnectAsync().Within();
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(() => wait.Within())).StatusCode);
        await client.CheckAsync();
        Assert.Equal(2, guest.Vsock.Dials);
    }

    [Fact]
    public async Task A_call_without_guest_fails_with_the_dials_reason_and_the_next_tries_again()
    {
        await using var guest = new Guest();
        await using var client = guest.Client();
        var error = await Assert.ThrowsAsync<RpcException>(() => client.Tasks.StateAsync(new StateRequest { Id = "c1" }).ResponseAsync.Within());
        Assert.Equal(StatusCode.Unavailable, error.StatusCode);
        Assert.Contains("nobody listens", error.Status.Detail, StringComparison.Ordinal);
        guest.Boot();
        await client.CheckAsync();
    }

    [Fact]
    public async Task Deadlines_and_tokens_hold_while_the_connection_is_made()
    {
        await using var client = new AgentClient(async token =>
        {
            await Task.Delay(Timeout.Infinite, token);
            return Stream.Null;
        });
        var late = client.Tasks.StateAsync(new StateRequest(), deadline: DateTime.UtcNow.AddMilliseconds(100)).ResponseAsync;
        Assert.Equal(StatusCode.DeadlineExceeded, (await Assert.ThrowsAsync<RpcException>(() => late.Within())).StatusCode);
        using var cancelled = new CancellationTokenSource(100);
        var gone = client.Tasks.StateAsync(new StateRequest(), cancellationToken: cancelled.Token).ResponseAsync;
        Assert.Equal(StatusCode.Cancelled, (await Assert.ThrowsAsync<RpcException>(() => gone.Within())).StatusCode);
        var disposed = client.Tasks.StateAsync(new StateRequest()).ResponseAsync;
        await client.DisposeAsync();
        await client.DisposeAsync();
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(() => disposed.Within())).StatusCode);
    }

    [Fact]
    public async Task The_setup_carries_the_pod_as_vmm_task_wants_it()
    {
        await using var guest = Guest.Booted();
        await using var client = guest.Client();
        await client.SetupSandboxAsync("""{"hostname":"h"}"""u8.ToArray(), GuestNetwork.None);
        var setup = Assert.Single(guest.Sandbox.Setups);
        Assert.Equal("PodSandboxConfig", setup.Config.TypeUrl);
        Assert.Equal("""{"hostname":"h"}""", setup.Config.Value.ToString(Encoding.UTF8));
    }

    [Theory]
    [InlineData(5000)]
    [InlineData(-5000)]
    [InlineData(0)]
    public async Task The_guests_clock_is_set_when_it_is_off(int ahead)
    {
        await using var guest = Guest.Booted();
        guest.Sandbox.Ahead = TimeSpan.FromMilliseconds(ahead);
        await using var client = guest.Client(new AgentClientOptions { ClockTolerance = TimeSpan.FromSeconds(1) });
        await client.CheckAsync();
        var delta = await client.SyncClockAsync().Within();
        Assert.InRange(delta.TotalMilliseconds, -ahead - 900, -ahead + 900);
        Assert.InRange(guest.Sandbox.Ahead.TotalMilliseconds, -900, 900);
        Assert.Equal(ahead == 0 ? 1 : 2, guest.Sandbox.Deltas.Count);
    }

    [Fact]
    public async Task A_late_answer_sets_no_clock()
    {
        await using var guest = Guest.Booted();
        guest.Sandbox.Late = new([TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(0.5)]);
        await using var client = guest.Client(new AgentClientOptions { ClockTolerance = TimeSpan.FromMilliseconds(200), CheckTimeout = Wait.Limit });
        var delta = await client.SyncClockAsync().Within();
        Assert.InRange(delta.TotalMilliseconds, -200, 200);
        Assert.Equal([0, 0, 0], guest.Sandbox.Deltas);
    }

    [Fact]
    public void A_clock_that_cannot_be_is_refused() =>
        Assert.Throws<InvalidDataException>(() => Clock.Measure(new SyncClockPacket { ClientSendTime = long.MaxValue, ClientArriveTime = -1 }));

    [Fact]
    public void The_delta_is_that_of_the_precision_time_protocol() => Assert.Equal(
        (128, 65), Clock.Measure(new SyncClockPacket { ClientSendTime = 231, ClientArriveTime = 135, ServerSendTime = 137, ServerArriveTime = 298 }));

    [Fact]
    public async Task The_clock_is_kept_until_cancelled_whatever_fails()
    {
        await using var guest = Guest.Booted();
        guest.Sandbox.Ahead = TimeSpan.FromHours(-1);
        await using var client = guest.Client();
        using var cancelled = new CancellationTokenSource();
        var keeping = client.KeepClockAsync(TimeSpan.FromMilliseconds(20), cancelled.Token);
        await Wait.Until(() => guest.Sandbox.Ahead > TimeSpan.FromMinutes(-1));
        guest.Vsock.Cut();
        guest.Sandbox.Ahead = TimeSpan.FromHours(1);
        await Wait.Until(() => guest.Sandbox.Ahead < TimeSpan.FromMinutes(1));
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => keeping.Within());
    }

    [Fact]
    public async Task Events_are_read_one_by_one_over_broken_connections_and_none_is_taken_after_the_end()
    {
        await using var guest = Guest.Booted();
        await using var client = guest.Client();
        using var cancelled = new CancellationTokenSource();
        var events = client.GetEventsAsync(cancelled.Token).GetAsyncEnumerator();
        foreach (var id in new[] { "a", "b" })
        {
            guest.Sandbox.Events.Writer.TryWrite(new Envelope { Topic = "/tasks/oom", Event = TypeUrl.Pack(new TaskOOM { ContainerId = id }) });
        }
        Assert.True(await events.MoveNextAsync().Within());
        Assert.True(TypeUrl.TryUnpack<TaskOOM>(events.Current.Event, out var first));
        Assert.Equal("a", first.ContainerId);
        Assert.True(await events.MoveNextAsync().Within());
        var next = events.MoveNextAsync();
        await Wait.Until(() => guest.Sandbox.EventCallsWaiting == 1);
        guest.Vsock.Cut();
        await Wait.Until(() => guest.Sandbox.EventCallsWaiting == 0);
        guest.Sandbox.Events.Writer.TryWrite(new Envelope { Topic = "/again" });
        Assert.True(await next.Within());
        Assert.Equal("/again", events.Current.Topic);
        next = events.MoveNextAsync();
        await Wait.Until(() => guest.Sandbox.EventCallsWaiting == 1);
        await cancelled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next.Within());
        await events.DisposeAsync();
        await Wait.Until(() => guest.Sandbox.EventCallsWaiting == 0);
    }
}
