namespace Kuasar.EndToEnd.Tests.Pods;

public sealed class ShimRouteNode(TestRun run) : OwnNode(run, "shim")
{
    internal override string? Missing => OursOnly;
}

/// <summary>
/// By <c>sandboxer = "shim"</c>. No pod here has the host's network: containerd 2.1.9 ends in a panic over it.
/// </summary>
public sealed class ShimRouteTests(TestRun run, ShimRouteNode own) : SandboxPodTestBase(run, own), IClassFixture<ShimRouteNode>
{
    protected override string Handler => "kuasar-runc-shim";
}
