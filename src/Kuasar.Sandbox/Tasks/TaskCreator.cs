using Kuasar.Domain;
using Kuasar.Protocol.Contracts.Control;
using CreateTaskRequest = Kuasar.Protocol.Contracts.TaskV3.CreateTaskRequest;
using Kuasar.Sandbox.Control;
using Kuasar.Sandbox.Mounts;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Tasks;

/// <summary>Makes a task from containerd's request, or leaves nothing behind.</summary>
internal static partial class TaskCreator
{
    // CRI's grouping, in the container's own spec; and what containerd 2 writes into the bundle of a container that joins a sandbox. It is
    // all that a task service is told of pods.
    private const string ContainerType = "io.kubernetes.cri.container-type", SandboxId = "io.kubernetes.cri.sandbox-id", SandboxFile = "sandbox";

    internal static async Task<ContainerTask> CreateAsync(TaskContext context, TaskKey key, CreateTaskRequest request)
    {
        var bundle = CheckBundle(request.Bundle);
        var spec = OciSpec.Load(bundle);
        var sandboxKey = key with { Id = SandboxOf(spec, bundle, key.Id) };
        var addresses = new StdioAddresses(request.Stdin, request.Stdout, request.Stderr, request.Terminal);
        var resources = new TaskResources(
            context.Paths.TaskFolder(context.ContainerdAddress, key.Namespace, key.Id),
            new TaskRecord
            {
                ContainerdAddress = context.ContainerdAddress,
                Namespace = key.Namespace,
                Id = key.Id,
                Bundle = bundle,
                Sandbox = context.Sandboxes.TryFind(sandboxKey) is null ? "" : sandboxKey.Id,
                Schema = RecordFile.Schema,
                Stdio = addresses.ToRecord(),
                Options = request.Options,
                Pod = sandboxKey.Id,
            },
            context.Logger);
        ProcessStdio? stdio = null;
        Container? container = null;
        try
        {
            resources.Open();
            resources.Mount([.. request.Rootfs.Select(MountSpec.From)], Path.Combine(bundle, "rootfs"));
            stdio = await ProcessStdio.OpenAsync(context.Stdio, addresses, ContainerTask.StdioName(key, ""), (key.Id, key.Namespace)).ConfigureAwait(false);
            var member = await resources.JoinAsync(context.Sandboxes, sandboxKey).ConfigureAwait(false);
            var containerSpec = new ContainerSpec
            {
                Id = key.Id,
                Bundle = bundle,
                WorkDirectory = resources.Folder,
                Oci = spec,
                Stdio = stdio,
                Options = request.Options,
                Resources = resources,
                OnOutOfMemory = () => context.Events.OutOfMemory(key),
            };
            container = await member.Sandbox.CreateContainerAsync(containerSpec, CancellationToken.None).ConfigureAwait(false);
            resources.Record(container);
            await stdio.AttachAsync(container.IsRemote, container.Exited, CancellationToken.None).ConfigureAwait(false);

            member.RequireOpen();
            var init = new ManagedProcess("", addresses) { Stdio = stdio };
            init.Attach(container);
            context.Events.Created(key, request, container.ProcessId);
            var task = new ContainerTask(context, key, resources, containerSpec, container, init);
            member.Settle(task);
            spec.Release();
            return task;
        }
        catch
        {
            await UndoAsync(context, key, resources, stdio, container).ConfigureAwait(false);
            throw;
        }
    }

    private static async Task UndoAsync(TaskContext context, TaskKey key, TaskResources resources, ProcessStdio? stdio, Container? container)
    {
        try
        {
            if (container is not null)
            {
                await CleanUp.TryAsync(() => container.DeleteAsync(CancellationToken.None)).ConfigureAwait(false);
            }
            if (stdio is not null)
            {
                await stdio.DisposeAsync().ConfigureAwait(false);
            }
            await resources.ReleaseAsync().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // the first error is the one to tell
        catch (Exception e)
#pragma warning restore CA1031
        {
            NotUndone(context.Logger, e, key);
        }
    }

    private static string SandboxOf(OciSpec spec, string bundle, string id)
    {
        var (pod, where) = spec.Annotation(ContainerType) == "container" && spec.Annotation(SandboxId) is { } annotated
            ? (annotated, $"annotation {SandboxId}")
            : (FileOf(bundle), $"file {SandboxFile} of the bundle");
        return pod is null ? id
            : Linux.ContainerdId.IsValid(pod) ? pod
            : throw new SandboxException(SandboxError.InvalidArgument, $"{where} holds no identifier: \"{pod}\"");
    }

    private static string? FileOf(string bundle) =>
        Linux.Libc.ReadFile(Path.Combine(bundle, SandboxFile), 1024) is { } content ? System.Text.Encoding.UTF8.GetString(content).Trim() : null;

    private static string CheckBundle(string bundle)
    {
        PlainPath.Check("bundle", bundle);
        return Directory.Exists(bundle) ? Path.TrimEndingDirectorySeparator(bundle) : throw new SandboxException(SandboxError.NotFound, $"no bundle at {bundle}");
    }

    [LoggerMessage(EventId = 310, Level = LogLevel.Error, Message = "Task {Key} could not be created, and something of it is left")]
    private static partial void NotUndone(ILogger logger, Exception e, TaskKey key);
}
