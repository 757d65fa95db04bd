namespace Kuasar.Sandbox.Tasks;

/// <summary>What makes a task one of its kind: two containerds, or two namespaces, may use the same ids.</summary>
internal readonly record struct TaskKey(string Instance, string Namespace, string Id)
{
    public override string ToString() => $"{Namespace}/{Id}";
}
