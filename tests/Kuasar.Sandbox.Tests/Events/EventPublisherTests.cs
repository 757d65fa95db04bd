using Grpc.Core;
using Kuasar.Protocol.Contracts.Events;
using Kuasar.Sandbox.Events;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Sandbox.Tests.Events;

public sealed class EventPublisherTests : IAsyncLifetime
{
    private readonly Bed _bed = new();
    private readonly FakeContainerd _containerd;
    private readonly EventPublisher _publisher;

    public EventPublisherTests()
    {
        _containerd = new FakeContainerd(_bed.PathOf("containerd.sock"));
        _publisher = new EventPublisher(_containerd.Socket, TimeProvider.System, NullLogger.Instance);
    }

    public ValueTask InitializeAsync() => default;

    public async ValueTask DisposeAsync()
    {
        await _publisher.DisposeAsync();
        await _containerd.DisposeAsync();
        _bed.Dispose();
    }

    private void Publish(int number) => _publisher.Publish("ns", "/tasks/oom", new TaskOOM { ContainerId = $"{number}" });

    private async Task AssertNextAsync(int number)
    {
        var envelope = await _containerd.NextAsync();
        Assert.Equal(("ns", "/tasks/oom", "containerd.events.TaskOOM"), (envelope.Namespace, envelope.Topic, envelope.Event.TypeUrl));
        Assert.Equal($"{number}", TaskOOM.Parser.ParseFrom(envelope.Event.Value).ContainerId);
    }

    [Fact]
    public async Task Order_is_kept_and_what_was_published_before_containerd_came_too()
    {
        for (var i = 0; i < 500; i++)
        {
            Publish(i);
        }
        _containerd.Start();
        for (var i = 0; i < 500; i++)
        {
            await AssertNextAsync(i);
        }
    }

    [Fact]
    public async Task A_containerd_that_goes_and_comes_back_loses_nothing_and_gets_nothing_twice()
    {
        _containerd.Start();
        var number = 0;
        for (var round = 0; round < 3; round++)
        {
            Publish(number);
            await AssertNextAsync(number++);
            await _containerd.StopAsync();
            Publish(number);
            Publish(number + 1);
            _containerd.Start();
            await AssertNextAsync(number++);
            await AssertNextAsync(number++);
        }
        Assert.False(_containerd.HasMore);
    }

    [Theory]
    [InlineData(StatusCode.InvalidArgument)]
    [InlineData(StatusCode.NotFound)]
    [InlineData(StatusCode.Unknown)]
    public async Task One_that_is_refused_is_dropped_and_the_next_is_sent(StatusCode code)
    {
        _containerd.OnForward = envelope => TaskOOM.Parser.ParseFrom(envelope.Event.Value).ContainerId == "1"
            ? throw new RpcException(new Status(code, "refused"))
            : Task.CompletedTask;
        _containerd.Start();
        for (var i = 0; i < 3; i++)
        {
            Publish(i);
        }

        await AssertNextAsync(0);
        await AssertNextAsync(2);
    }

    [Fact]
    public async Task One_that_is_put_off_is_sent_again()
    {
        var refusals = 2;
        _containerd.OnForward = _ => refusals-- > 0 ? throw new RpcException(new Status(StatusCode.Unavailable, "not now")) : Task.CompletedTask;
        _containerd.Start();
        Publish(0);
        Publish(1);

        await AssertNextAsync(0);
        await AssertNextAsync(1);
    }

    [Fact]
    public async Task The_queue_is_bounded_and_the_oldest_give_way()
    {
        const int Limit = 64 * 1024;
        for (var i = 0; i < Limit + 100; i++)
        {
            Publish(i);
        }
        _containerd.Start();

        // One may be on its way already, and has left the queue.
        var first = await _containerd.NextAsync();
        Assert.Equal("0", TaskOOM.Parser.ParseFrom(first.Event.Value).ContainerId);
        await AssertNextAsync(100);
        await AssertNextAsync(101);
    }

    [Fact]
    public async Task Dispose_sends_what_it_can_and_does_not_wait_for_a_containerd_that_is_away()
    {
        _containerd.Start();
        Publish(0);
        await _publisher.DisposeAsync().InTime();
        await AssertNextAsync(0);

        var away = new EventPublisher(_bed.PathOf("nobody.sock"), TimeProvider.System, NullLogger.Instance);
        away.Publish("ns", "/tasks/oom", new TaskOOM());
        await away.DisposeAsync().InTime();
        away.Publish("ns", "/tasks/oom", new TaskOOM());
    }

    [Fact]
    public async Task An_address_that_is_none_hurts_nobody_and_the_clock_may_be_anyones()
    {
        await using (var wrong = new EventPublisher("http://x", TimeProvider.System, NullLogger.Instance))
        {
            wrong.Publish("ns", "/tasks/oom", new TaskOOM());
        }
        _containerd.Start();
        await using var past = new EventPublisher(_containerd.Socket, _bed.Time, NullLogger.Instance);
        past.Publish("ns", "/tasks/oom", new TaskOOM { ContainerId = "7" });
        await AssertNextAsync(7);
    }
}
