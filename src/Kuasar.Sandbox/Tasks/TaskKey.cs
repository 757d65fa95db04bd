namespace Kuasar.Sandbox.Tasks;

/// <summary>What makes a task one of its kind: two containerds, or two namespaces, may use the same ids.</summary>
internal readonly record struct TaskKey(string Instance, string Namespace, string Id)
{
    /// <summary>Of a task or a sandbox: RUN/tasks/INSTANCE/NAMESPACE/ID, or the same below RUN/sandboxes.</summary>
    internal static TaskKey OfFolder(string folder) => folder.Split('/') is [.., var instance, var containerdNamespace, var id]
        ? new TaskKey(instance, containerdNamespace, id)
        : throw new InvalidDataException($"{folder} is the folder of no task or sandbox");

    public override string ToString() => $"{Namespace}/{Id}";
}
