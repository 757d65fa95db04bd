using Google.Protobuf.WellKnownTypes;

namespace Kuasar.Sandbox.Tests.Support;

/// <summary>A sandbox type as an author writes it, whose processes live in memory alone.</summary>
internal sealed class TestSandboxer : Sandboxer
{
    internal List<string> Log { get; } = [];

    internal Func<SandboxSpec, Task> OnCreate { get; set; } = _ => Task.CompletedTask;

    internal Func<Task> OnDisposeAsync { get; set; } = () => Task.CompletedTask;

    internal Func<TestSandbox, CancellationToken, Task> OnStart { get; set; } = (_, _) => Task.CompletedTask;

    internal Func<TestSandbox, TimeSpan, Task> OnStop { get; set; } = (_, _) => Task.CompletedTask;

    internal Func<ContainerSpec, Task> OnCreatingContainer { get; set; } = _ => Task.CompletedTask;

    internal Func<ContainerSpec, TestContainer> OnCreateContainer { get; set; } = _ => new TestContainer();

    /// <summary>The last one made.</summary>
    internal TestSandbox Last { get; private set; } = null!;

    /// <summary>Of the creation that came last.</summary>
    internal CancellationToken CreateToken { get; private set; }

    public override async Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        CreateToken = cancellationToken;
        Note($"create {spec.Id}");
        await OnCreate(spec);
        return Last = new TestSandbox(this, spec);
    }

    private void Note(string text)
    {
        lock (Log)
        {
            Log.Add(text);
        }
    }

    internal sealed class TestSandbox(TestSandboxer sandboxer, SandboxSpec spec) : Sandbox
    {
        private readonly TaskCompletionSource<ExitStatus> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

        internal SandboxSpec Spec => spec;

        internal TaskCompletionSource<ExitStatus> End => _exited;

        internal Func<Task> OnPing { get; set; } = () => Task.CompletedTask;

        internal Func<IReadOnlyDictionary<string, string>> OnInfo { get; set; } = () => new Dictionary<string, string> { ["info"] = "{}" };

        internal List<SandboxResources> Updates { get; } = [];

        public override int ProcessId => 4711;

        public override Task<ExitStatus> Exited => _exited.Task;

        public override async Task StartAsync(CancellationToken cancellationToken)
        {
            sandboxer.Note($"start {spec.Id}");
            await sandboxer.OnStart(this, cancellationToken);
        }

        public override async Task<Container> CreateContainerAsync(ContainerSpec container, CancellationToken cancellationToken)
        {
            await sandboxer.OnCreatingContainer(container);
            return sandboxer.OnCreateContainer(container);
        }

        public override async Task StopAsync(TimeSpan timeout, CancellationToken cancellationToken)
        {
            sandboxer.Note($"stop {spec.Id} {timeout.TotalSeconds:0}");
            await sandboxer.OnStop(this, timeout);
        }

        public override Task UpdateAsync(SandboxResources resources, CancellationToken cancellationToken)
        {
            Updates.Add(resources);
            return Task.CompletedTask;
        }

        public override Task<Any> GetMetricsAsync(CancellationToken cancellationToken) => Task.FromResult(new Any { TypeUrl = "metrics" });

        public override Task PingAsync(CancellationToken cancellationToken) => OnPing();

        public override IReadOnlyDictionary<string, string> GetInfo() => OnInfo();

        public override async ValueTask DisposeAsync()
        {
            await sandboxer.OnDisposeAsync();
            sandboxer.Note($"dispose {spec.Id}");
            await base.DisposeAsync();
        }
    }
}

internal sealed class TestContainer : Container
{
    private static int s_lastPid = 5_000_000; // beyond the kernel's limit: nobody has it

    private readonly TaskCompletionSource<ExitStatus> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal List<TestExec> Execs { get; } = [];

    internal List<int> Signals { get; } = [];

    internal int Deletes { get; private set; }

    internal Func<Task> OnStart { get; set; } = () => Task.CompletedTask;

    internal Action OnDelete { get; set; } = () => { };

    internal Func<ExecSpec, TestExec> OnExec { get; set; } = _ => new TestExec();

    /// <summary>Whether SIGKILL ends it.</summary>
    internal bool Mortal { get; set; } = true;

    internal bool Outlives { get; set; }

    internal static int NextPid() => Interlocked.Increment(ref s_lastPid);

    public override int ProcessId { get; } = NextPid();

    public override Task<ExitStatus> Exited => _exited.Task;

    public override bool OutlivesInit => Outlives;

    internal void Exit(uint code = 0) => _exited.TrySetResult(new(code, DateTimeOffset.UnixEpoch));

    internal void FailToKnow() => _exited.TrySetException(new IOException("the author's error"));

    public override Task StartAsync(CancellationToken cancellationToken) => OnStart();

    public override Task<ContainerProcess> StartExecAsync(ExecSpec exec, CancellationToken cancellationToken)
    {
        var process = OnExec(exec);
        lock (Execs)
        {
            Execs.Add(process);
        }
        return Task.FromResult<ContainerProcess>(process);
    }

    public override Task SignalAsync(int signal, CancellationToken cancellationToken)
    {
        // As HostProcess: throws, before there is a task, for one that has ended.
        if (_exited.Task.IsCompleted)
        {
            throw new SandboxException(SandboxError.NotFound, "it has ended");
        }
        Signals.Add(signal);
        if (signal == 9 && Mortal)
        {
            Exit(137);
        }
        return Task.CompletedTask;
    }

    public override Task PauseAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override Task ResumeAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override Task UpdateAsync(ReadOnlyMemory<byte> resources, CancellationToken cancellationToken) => Task.CompletedTask;

    public override Task<Any> GetMetricsAsync(CancellationToken cancellationToken) => Task.FromResult(new Any());

    public override Task DeleteAsync(CancellationToken cancellationToken)
    {
        OnDelete();
        Deletes++;
        Exit(137);
        foreach (var exec in Execs)
        {
            exec.Exit(137);
        }
        return Task.CompletedTask;
    }
}

internal sealed class TestExec : ContainerProcess
{
    private readonly TaskCompletionSource<ExitStatus> _exited = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal int Deletes { get; private set; }

    internal Action OnDelete { get; set; } = () => { };

    internal List<int> Signals { get; } = [];

    public override int ProcessId { get; } = TestContainer.NextPid();

    public override Task<ExitStatus> Exited => _exited.Task;

    internal void Exit(uint code = 0) => _exited.TrySetResult(new(code, DateTimeOffset.UnixEpoch));

    public override Task SignalAsync(int signal, CancellationToken cancellationToken)
    {
        Signals.Add(signal);
        Exit(128 + (uint)signal);
        return Task.CompletedTask;
    }

    public override Task DeleteAsync(CancellationToken cancellationToken)
    {
        OnDelete();
        Deletes++;
        return Task.CompletedTask;
    }
}
