using Google.Protobuf.WellKnownTypes;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.TaskV3;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary>
/// <c>delete</c>: containerd runs it in every task's removal and whenever the sandboxer's connection breaks. The sandboxer does it;
/// when it does not answer, this process does, by the record.
/// </summary>
internal static class DeleteCommand
{
    private const uint Killed = 128 + Libc.SIGKILL;

    internal static int Run(ShimSettings settings, CommandLine command)
    {
        var containerd = StartCommand.Containerd(command);
        var bundle = Bundle(command);
        try
        {
            return Report(Ask(settings, command, containerd, bundle));
        }
        catch (SandboxerErrorException e)
        {
            // It lives, but whatever keeps it from removing the task must not keep the task.
            StandardStreams.WriteError(settings.Options.ShortName, e.Message);
        }
        catch (SandboxerDownException)
        {
        }

        var result = ForcedRemoval.Remove(
            settings.Paths, containerd.GrpcAddress, command.Namespace, command.Id, bundle.Length > 0 ? bundle : null, settings.Options.KillTimeout);
        foreach (var problem in result.Problems)
        {
            StandardStreams.WriteError(settings.Options.ShortName, problem);
        }
        return result.Complete ? Report(new RemoveResponse { Pid = (uint)result.Pid }) : 1;
    }

    private static RemoveResponse Ask(ShimSettings settings, CommandLine command, ContainerdInstance containerd, string bundle)
    {
        var response = new RemoveResponse();
        using var connection = SandboxerConnection.Open(settings, settings.Options.RemoveTimeout);
        connection.Call("Remove", new RemoveRequest { Containerd = containerd, Namespace = command.Namespace, Id = command.Id, Bundle = bundle }, response);
        return response;
    }

    // The current folder is the bundle when containerd calls; anyone else's is none of ours.
    private static string Bundle(CommandLine command)
    {
        if (command.Bundle.Length > 0)
        {
            return command.Bundle;
        }
        var current = Libc.CurrentFolder();
        return current is not null && Path.GetFileName(current.AsSpan()).SequenceEqual(command.Id) ? current : "";
    }

    private static int Report(RemoveResponse response)
    {
        // Without a time the exit has not been seen.
        var seen = response.ExitedAt is not null;
        StandardStreams.WriteOutput(new DeleteResponse
        {
            Pid = response.Pid,
            ExitStatus = seen ? response.ExitStatus : Killed,
            ExitedAt = response.ExitedAt ?? Timestamp.FromDateTimeOffset(TimeProvider.System.GetUtcNow()),
        });
        return 0;
    }
}
