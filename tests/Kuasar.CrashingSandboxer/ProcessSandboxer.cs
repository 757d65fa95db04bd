using System.IO.Pipes;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol;
using Kuasar.Sandbox;
using Microsoft.Win32.SafeHandles;

namespace CrashingSandboxer;

/// <summary>A sandbox type as an author writes it: a pod is a process and a mount, its containers are an OCI runtime's.</summary>
/// <param name="runtime">Path of a <see cref="ScriptRuntime"/>.</param>
public sealed class ProcessSandboxer(string runtime) : Sandboxer
{
    /// <summary>Before a sandbox is taken over; may throw or wait.</summary>
    public Func<SandboxSpec, Task> OnRecover { get; set; } = _ => Task.CompletedTask;

    /// <summary>Before a container is taken over.</summary>
    public Func<ContainerSpec, Task> OnRecoverContainer { get; set; } = _ => Task.CompletedTask;

    /// <inheritdoc/>
    public override Task<Sandbox> CreateSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken) =>
        Task.FromResult<Sandbox>(new ProcessSandbox(this, Services.Processes, spec, RuntimeOf(spec)));

    /// <inheritdoc/>
    public override async Task<Sandbox> RecoverSandboxAsync(SandboxSpec spec, CancellationToken cancellationToken)
    {
        await OnRecover(spec);
        var sandbox = new ProcessSandbox(this, Services.Processes, spec, RuntimeOf(spec));
        if (spec.WasStarted)
        {
            sandbox.Recover();
        }
        return sandbox;
    }

    private OciRuntime RuntimeOf(SandboxSpec spec) =>
        new(new OciRuntimeOptions { Path = runtime, Root = Path.Combine(Services.RunDirectory, "runtime", spec.Instance, spec.Namespace) }, Services);
}

internal sealed class ProcessSandbox(ProcessSandboxer sandboxer, HostProcesses processes, SandboxSpec spec, OciRuntime runtime) : Sandbox
{
    private readonly string _mount = Path.Combine(spec.WorkDirectory, "mnt");
    private HostProcess? _init;

    public override int ProcessId => _init?.ProcessId ?? 0;

    public override Task<ExitStatus> Exited => _init?.Exited ?? base.Exited;

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        if (spec.Pod is null)
        {
            return;
        }
        spec.Save(new StringValue { Value = spec.Pod.Hostname });
        Directory.CreateDirectory(_mount);
        spec.RecordMount(_mount);
        await RunAsync("/bin/mount", "-t", "tmpfs", "pod", _mount);
        // Should we die before it is recorded, it reads the end of the pipe and ends too.
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out, HandleInheritability.None);
        using var read = new SafeFileHandle(pipe.ClientSafePipeHandle.DangerousGetHandle(), ownsHandle: false);
        _init = processes.Start("/bin/sh", ["-c", $"read -r go && exec sleep {spec.Pod.Hostname}"], stdin: read);
        spec.RecordProcess(_init.ProcessId);
        pipe.Write("go\n"u8);
    }

    public void Recover()
    {
        if (spec.Pod is null)
        {
            return;
        }
        if (!TypeUrl.TryUnpack<StringValue>(spec.Saved, out var saved) || saved.Value != spec.Pod.Hostname)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, "what was saved is not there");
        }
        _init = processes.Recover(spec)[0];
    }

    public override async Task<Container> CreateContainerAsync(ContainerSpec container, CancellationToken cancellationToken)
    {
        container.Save(new StringValue { Value = container.Id });
        return new ProcessContainer(runtime, container, await runtime.CreateAsync(container, cancellationToken));
    }

    public override async Task<Container> RecoverContainerAsync(
        ContainerSpec container, HostProcess? init, Cgroup? cgroup, CancellationToken cancellationToken)
    {
        await sandboxer.OnRecoverContainer(container);
        if (!TypeUrl.TryUnpack<StringValue>(container.Saved, out var saved) || saved.Value != container.Id)
        {
            throw new SandboxException(SandboxError.FailedPrecondition, "what was saved is not there");
        }
        return new ProcessContainer(runtime, container, init!);
    }

    public override async Task StopAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        if (_init?.Signal(9) == true)
        {
            await _init.Exited.WaitAsync(TimeSpan.FromSeconds(5), cancellationToken);
        }
    }

    public override async ValueTask DisposeAsync()
    {
        if (spec.Pod is not null)
        {
            await RunAsync("/bin/umount", _mount);
            _init?.Dispose();
        }
        await base.DisposeAsync();
    }

    private async Task RunAsync(string program, params string[] arguments)
    {
        using var process = processes.Start(program, arguments);
        await process.Exited;
    }
}

internal sealed class ProcessContainer(OciRuntime runtime, ContainerSpec spec, HostProcess init) : Container
{
    public override int ProcessId => init.ProcessId;

    public override Task<ExitStatus> Exited => init.Exited;

    public override Task StartAsync(CancellationToken cancellationToken) => runtime.StartAsync(spec, cancellationToken);

    public override async Task<bool> IsStartedAsync(CancellationToken cancellationToken) => await runtime.GetStatusAsync(spec, cancellationToken) != "created";

    public override async Task<ContainerProcess> StartExecAsync(ExecSpec exec, CancellationToken cancellationToken) =>
        await runtime.ExecAsync(spec, exec, cancellationToken);

    public override Task SignalAsync(int signal, CancellationToken cancellationToken) => init.SignalAsync(signal, cancellationToken);

    public override Task PauseAsync(CancellationToken cancellationToken) => runtime.PauseAsync(spec, cancellationToken);

    public override Task ResumeAsync(CancellationToken cancellationToken) => runtime.ResumeAsync(spec, cancellationToken);

    public override async Task DeleteAsync(CancellationToken cancellationToken)
    {
        await runtime.DeleteAsync(spec, cancellationToken);
        init.Dispose();
    }
}
