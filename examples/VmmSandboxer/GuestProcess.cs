using Grpc.Core;
using Kuasar.Protocol.Contracts.TaskV2;
using Kuasar.Sandbox;
using Kuasar.Vmm;
using SystemTask = System.Threading.Tasks.Task;

namespace VmmSandboxer;

/// <summary>A process of a guest: what its container and its execs have in common. It ends with its guest at the latest.</summary>
internal sealed class GuestProcess(VirtualMachine machine, AgentClient agent, string containerId, string execId)
{
    internal Task<ExitStatus> Exited => field ??= ExitedAsync();

    private async Task<ExitStatus> ExitedAsync()
    {
        while (true)
        {
            try
            {
                using var over = new CancellationTokenSource();
                var wait = agent.Tasks.WaitAsync(new WaitRequest { Id = containerId, ExecId = execId }, cancellationToken: over.Token).ResponseAsync;
                if (await SystemTask.WhenAny(wait, machine.Exited) == machine.Exited)
                {
                    await over.CancelAsync();
                    return new ExitStatus(ExitStatus.KilledCode, (await machine.Exited).At);
                }
                var end = await wait;
                return new ExitStatus(end.ExitStatus, end.ExitedAt?.ToDateTimeOffset() ?? DateTimeOffset.UtcNow);
            }
            catch (RpcException e) when (e.StatusCode is StatusCode.Unavailable or StatusCode.Cancelled or StatusCode.DeadlineExceeded)
            {
                // The connection was lost, and the guest perhaps with it.
                await SystemTask.WhenAny(machine.Exited, SystemTask.Delay(TimeSpan.FromMilliseconds(100)));
            }
            catch (RpcException)
            {
                // The agent does not know it.
                return new ExitStatus(ExitStatus.UnknownCode, DateTimeOffset.UtcNow);
            }
        }
    }

    internal async SystemTask SignalAsync(int signal, bool all, CancellationToken cancellationToken)
    {
        try
        {
            await agent.Tasks.KillAsync(new KillRequest { Id = containerId, ExecId = execId, Signal = (uint)signal, All = all }, cancellationToken: cancellationToken);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound || machine.State == VmState.Ended)
        {
            throw new SandboxException(SandboxError.NotFound, $"process {containerId} {execId} has finished", e);
        }
    }

    internal async SystemTask ResizeAsync(uint columns, uint rows, CancellationToken cancellationToken) => await agent.Tasks.ResizePtyAsync(
        new ResizePtyRequest { Id = containerId, ExecId = execId, Width = columns, Height = rows }, cancellationToken: cancellationToken);

    /// <summary>Frees what the guest holds of it; one that never ran is ended first.</summary>
    internal async SystemTask DeleteAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!Exited.IsCompleted && execId.Length == 0)
            {
                await agent.Tasks.KillAsync(new KillRequest { Id = containerId, Signal = 9, All = true }, cancellationToken: cancellationToken);
                await Exited.WaitAsync(TimeSpan.FromSeconds(5), cancellationToken);
            }
            await agent.Tasks.DeleteAsync(new DeleteRequest { Id = containerId, ExecId = execId }, cancellationToken: cancellationToken);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound || machine.State == VmState.Ended)
        {
            // Gone, with its guest or before.
        }
    }

    /// <summary>Null when the guest does not know it, or has ended.</summary>
    internal async Task<StateResponse?> StateAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await agent.Tasks.StateAsync(new StateRequest { Id = containerId, ExecId = execId }, cancellationToken: cancellationToken);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound || machine.State == VmState.Ended)
        {
            return null;
        }
    }

    /// <summary>Copies on after a new start: one that has ended meanwhile may have left last words.</summary>
    internal async SystemTask RecoverStreamsAsync(ProcessStdio stdio, CancellationToken cancellationToken)
    {
        if (machine.State != VmState.Ended && await StateAsync(cancellationToken) is not null)
        {
            OpenStreams(stdio);
        }
    }

    /// <summary>The streams as the guest's calls name them, and their copying, which begins at once and ends with them.</summary>
    internal GuestStreams OpenStreams(ProcessStdio stdio) => new(machine, agent, stdio, containerId, execId);
}

/// <summary>A process's streams between the client and the guest. Copying needs nobody to own it: it ends with the process, or with its guest.</summary>
internal sealed class GuestStreams
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly VirtualMachine _machine;
    private readonly AgentClient _agent;

    internal GuestStreams(VirtualMachine machine, AgentClient agent, ProcessStdio stdio, string containerId, string execId)
    {
        (_machine, _agent) = (machine, agent);
        Terminal = stdio.Terminal;
        Stdin = Begin(stdio.OpenInput(), "stdin", CopyInAsync);
        Stdout = Begin(stdio.OpenOutput(), "stdout", CopyOutAsync);
        Stderr = Begin(stdio.OpenError(), "stderr", CopyOutAsync);

        string Begin(Stream? client, string name, Func<string, Stream, SystemTask> copyAsync)
        {
            if (client is null)
            {
                return "";
            }
            var id = AgentClient.StreamId(containerId, execId, name);
            _ = copyAsync(id, client);
            return AgentClient.StreamUri(machine.EndPoint(AgentClient.Port), id);
        }
    }

    internal bool Terminal { get; }

    internal string Stdin { get; }

    internal string Stdout { get; }

    internal string Stderr { get; }

    private async SystemTask CopyOutAsync(string id, Stream client)
    {
        await using (client)
        {
            await WhileThereAsync(async () =>
            {
                await using var guest = await _agent.OpenOutputAsync(id, client.Position);
                await guest.CopyToAsync(client);
            });
        }
    }

    private async SystemTask CopyInAsync(string id, Stream client)
    {
        await using (client)
        {
            await WhileThereAsync(async () =>
            {
                await using var guest = await _agent.OpenInputAsync(id);
                client.Position = await guest.PositionAsync() ?? client.Position;
                var buffer = new byte[32 * 1024];
                while (await client.ReadAsync(buffer) is > 0 and var count)
                {
                    await guest.WriteAsync(buffer.AsMemory(0, count));
                }
                await guest.CompleteAsync();
            });
        }
    }

    /// <summary>Again, when only the connection was lost.</summary>
    private async SystemTask WhileThereAsync(Func<SystemTask> copyAsync)
    {
        while (true)
        {
            try
            {
                await copyAsync();
                return;
            }
            catch (VsockException) when (_machine.State != VmState.Ended)
            {
                await SystemTask.WhenAny(_machine.Exited, SystemTask.Delay(Pause));
            }
            catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException or RpcException)
            {
                // The guest has gone; or the client's side was closed at the process's deletion; or the process reads no more.
                return;
            }
        }
    }
}
