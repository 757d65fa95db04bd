using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Tasks;

public sealed class TaskRegistryTests : IAsyncLifetime
{
    private static readonly TaskKey Key = new("instance", "ns", "one");

    private readonly TaskBed _bed = new();
    private readonly TaskRegistry _registry = new();

    public ValueTask InitializeAsync() => default;

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    [Fact]
    public async Task An_id_is_taken_while_its_task_is_made()
    {
        var made = new TaskCompletionSource<ContainerTask>();
        var adding = _registry.AddAsync(Key, () => made.Task);
        Assert.Null(await _registry.FindAsync(Key));
        var settled = _registry.FindSettledAsync(Key);
        await Within.Fails(SandboxError.AlreadyExists, () => _registry.AddAsync(Key, () => throw new InvalidOperationException("not reached")));
        Assert.False(await _registry.WhileFreeAsync(Key, () => throw new InvalidOperationException("not reached")));
        Assert.False(settled.IsCompleted);
        // Other containerds and namespaces have ids of their own.
        Assert.True(await _registry.WhileFreeAsync(Key with { Namespace = "other" }, () => Task.CompletedTask));
        Assert.True(await _registry.WhileFreeAsync(Key with { Instance = "other" }, () => Task.CompletedTask));

        var task = await _bed.CreateAsync(new TestContainer());
        made.SetResult(task);

        Assert.Same(task, await adding.InTime());
        Assert.Same(task, await settled.InTime());
        Assert.Same(task, await _registry.FindAsync(Key));
        Assert.Equal([task], _registry.Tasks);
        _registry.Remove(task);
        Assert.Null(await _registry.FindSettledAsync(Key).InTime());
        Assert.Equal(0, _registry.Count);
    }

    [Fact]
    public async Task A_creation_that_fails_frees_the_id_and_those_who_wait_find_nothing()
    {
        var made = new TaskCompletionSource<ContainerTask>();
        var adding = _registry.AddAsync(Key, () => made.Task);
        var settled = _registry.FindSettledAsync(Key);

        made.SetException(new SandboxException(SandboxError.Unavailable, "not now"));

        await Within.Fails(SandboxError.Unavailable, () => adding);
        Assert.Null(await settled.InTime());
        await Within.Fails(SandboxError.Unavailable, () => _registry.AddAsync(Key, () => throw new SandboxException(SandboxError.Unavailable, "at once")));
        Assert.Equal(0, _registry.Count);
        await _registry.AddAsync(Key, () => _bed.CreateAsync(new TestContainer())).InTime();
    }

    [Fact]
    public async Task While_free_takes_the_id_and_gives_it_back_even_when_it_fails()
    {
        var done = new TaskCompletionSource();
        var action = _registry.WhileFreeAsync(Key, () => done.Task);
        var added = _registry.AddAsync(Key, () => throw new SandboxException(SandboxError.Unknown, "only when the id is free"));
        Assert.False(added.IsCompleted);
        var settled = _registry.FindSettledAsync(Key);

        done.SetException(new IOException("it failed"));

        await Assert.ThrowsAsync<IOException>(() => action.InTime());
        Assert.Null(await settled.InTime());
        await Within.Fails(SandboxError.Unknown, () => added);
        Assert.True(await _registry.WhileFreeAsync(Key, () => Task.CompletedTask));
    }
}
