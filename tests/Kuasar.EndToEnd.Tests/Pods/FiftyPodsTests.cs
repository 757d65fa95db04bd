namespace Kuasar.EndToEnd.Tests.Pods;

/// <summary>When the others are through: how much garbage a burst leaves depends on what else the machine does.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class FiftyPods
{
    public const string Name = "fifty pods";
}

public sealed class FiftyShimNode(TestRun run) : OwnNode(run, "fifty-shim")
{
    internal override string? Missing => OursOnly;

    protected override SandboxerPlan Plan => new() { HasProxy = false, HasKeeper = false, LogLevel = "info" };
}

/// <summary>The sandboxer has no gRPC here.</summary>
[Collection(FiftyPods.Name)]
public sealed class FiftyShimPodsTests(TestRun run, FiftyShimNode own) : FiftyPodsTestBase(run, own), IClassFixture<FiftyShimNode>
{
    protected override string Handler => "kuasar-runc-shim";

    protected override double PssLimitMiB => 20;
}

public sealed class FiftyProxyNode(TestRun run) : OwnNode(run, "fifty-proxy")
{
    internal override string? Missing => OursOnly ?? ProxyPluginsOnly;

    protected override SandboxerPlan Plan => new() { HasKeeper = false, LogLevel = "info" };
}

[Collection(FiftyPods.Name)]
public sealed class FiftyProxyPodsTests(TestRun run, FiftyProxyNode own) : FiftyPodsTestBase(run, own), IClassFixture<FiftyProxyNode>
{
    protected override string Handler => "kuasar-runc-proxy";

    protected override double PssLimitMiB => 40;
}

public sealed class FiftyKeptNode(TestRun run) : OwnNode(run, "fifty-kept")
{
    internal override string? Missing => OursOnly;

    protected override SandboxerPlan Plan => new() { HasProxy = false, LogLevel = "info" };
}

/// <summary>With a keeper, which counts.</summary>
[Collection(FiftyPods.Name)]
public sealed class FiftyKeptPodsTests(TestRun run, FiftyKeptNode own) : FiftyPodsTestBase(run, own), IClassFixture<FiftyKeptNode>
{
    protected override string Handler => "kuasar-runc-shim";

    protected override double PssLimitMiB => 30;
}
