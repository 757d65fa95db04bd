using Grpc.Core;
using Kuasar.Linux;
using Kuasar.Sandbox.Tasks;

namespace Kuasar.Sandbox.Control;

/// <summary>What a request on one socket is about: the containerd is the socket's, the namespace is in the metadata, the id in the message.</summary>
internal sealed class RequestKeys(string instance, string endpointNamespace)
{
    private const string NamespaceHeader = "containerd-namespace-ttrpc";

    /// <exception cref="SandboxException">InvalidArgument: not identifiers.</exception>
    internal TaskKey Of(string id, ServerCallContext call)
    {
        // containerd 1.7 sends no metadata: there the socket says it.
        var containerdNamespace = call.RequestHeaders.GetValue(NamespaceHeader) ?? endpointNamespace;
        return !ContainerdId.IsValid(containerdNamespace) ? throw Invalid("namespace", containerdNamespace)
            : !ContainerdId.IsValid(id) ? throw Invalid("id", id)
            : new TaskKey(instance, containerdNamespace, id);
    }

    internal static SandboxException Invalid(string what, string value) =>
        new(SandboxError.InvalidArgument, $"{what} \"{(value.Length > 100 ? value[..100] + "…" : value)}\" is not valid");
}
