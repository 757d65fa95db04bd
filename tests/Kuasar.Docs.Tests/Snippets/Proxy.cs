using Kuasar.Sandbox;
using Kuasar.Sandbox.Grpc;

namespace Kuasar.Docs.Tests.Snippets;

internal static class Proxy
{
    internal static SandboxerOptions Options()
    {
        var options = new SandboxerOptions { Name = "runc" };
        options.Routes.Add(new ProxyRoute("/run/kuasar/runc/proxy.sock") { ContainerdAddress = "/run/containerd/containerd.sock" });
        return options;
    }
}
