using System.Runtime.InteropServices;
using GuestAgent.Network;
using GuestAgent.Pods;
using GuestAgent.Services;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Sandbox;
using Microsoft.Extensions.Logging;
using SandboxContract = Kuasar.Vmm.Contracts.Agent.SandboxService;

namespace GuestAgent;

/// <summary>The agent: a task server for the pod's containers, and the host's service beside it.</summary>
internal sealed class Agent : IAsyncDisposable
{
    private static readonly TimeSpan DrainLimit = TimeSpan.FromSeconds(1), TasksLimit = TimeSpan.FromSeconds(5);

    private readonly TaskCompletionSource _stop = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskServer _tasks;

    internal Agent(string runDirectory, string namespacesFolder, string runtime, LogLevel logLevel)
    {
        var namespaces = new PodNamespaces(namespacesFolder);
        _tasks = new TaskServer(new GuestSandboxer(runtime, namespaces), new TaskServerOptions
        {
            RunDirectory = runDirectory,
            LogLevel = logLevel,
            ShutdownAsked = Stop,
        });
        SandboxContract.BindService(_tasks.Server.Services, new SandboxService(_tasks, namespaces, Network));
    }

    internal GuestNetwork Network { get; } = new();

    /// <summary>Makes <see cref="RunAsync"/> end.</summary>
    internal void Stop() => _stop.TrySetResult();

    /// <summary>Serves until <c>Task.Shutdown</c>, SIGTERM, SIGINT or <see cref="Stop"/>; then ends all tasks.</summary>
    internal async Task RunAsync(IReadOnlyList<IConnectionSource> sources)
    {
        using var term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        if (Environment.ProcessId == 1)
        {
            Libc.KeepRuntimeFromReaping();
        }
        using var accepting = new CancellationTokenSource();
        var serving = Task.WhenAll(sources.Select(source => _tasks.Server.ServeAsync(source, accepting.Token)));
        await _stop.Task;
        await _tasks.EndTasksAsync(TasksLimit);
        await accepting.CancelAsync();
        await _tasks.Server.StopAsync(DrainLimit);
        await serving;
    }

    private void OnSignal(PosixSignalContext context)
    {
        context.Cancel = true;
        Stop();
    }

    public ValueTask DisposeAsync() => _tasks.DisposeAsync();
}
