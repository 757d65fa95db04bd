using System.Text;
using GuestAgent.Boot;
using GuestAgent.Pods;
using Kuasar.GuestAgent.Tests.Beds;
using Kuasar.Sandbox;
using Microsoft.Extensions.Logging;
using JsonNode = System.Text.Json.Nodes.JsonNode;

namespace Kuasar.GuestAgent.Tests;

/// <summary>What the agent makes of what the host tells it, without a host.</summary>
public sealed class PodConfigTests
{
    [Theory]
    [InlineData("""{"linux":{"security_context":{"namespace_options":{"pid":0}}}}""", true)]
    [InlineData("""{"linux":{"securityContext":{"namespaceOptions":{}}}}""", true)]
    [InlineData("""{"linux":{"security_context":{"namespace_options":{"pid":1}}}}""", false)]
    [InlineData("""{"linux":{"securityContext":{"namespaceOptions":{"pid":"CONTAINER"}}}}""", false)]
    [InlineData("{}", false)]
    public void Processes_are_shared_as_the_pod_says(string json, bool shared) => Assert.Equal(shared, Parse(json).SharesProcesses);

    [Fact]
    public void Names_and_sysctls_are_taken()
    {
        var pod = Parse("""{"hostname":"h","linux":{"sysctls":{"kernel.shm_rmid_forced":"1"}}}""");
        Assert.Equal("h", pod.HostName);
        Assert.Equal("1", pod.Sysctls["kernel.shm_rmid_forced"]);
    }

    [Theory]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("")]
    public void What_is_no_object_is_refused(string json) => Assert.Equal(SandboxError.InvalidArgument, Assert.Throws<SandboxException>(() => Parse(json)).Error);

    private static PodConfig Parse(string json) => PodConfig.Parse(Encoding.UTF8.GetBytes(json));

    [Fact]
    public void Spec_of_a_host_is_fitted_to_the_guest()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(Path.Combine(folder.Path, "ipc"), "");
        File.WriteAllText(Path.Combine(folder.Path, "uts"), "");
        var spec = JsonNode.Parse(
            """
            {"linux":{"cgroupsPath":"a.slice:cri:b","namespaces":[{"type":"mount"},{"type":"network","path":"/run/netns/x"},{"type":"network"},
            {"type":"ipc","path":"/proc/1/ns/ipc"},{"type":"pid","path":"/proc/1/ns/pid"},{"type":"uts","path":"/proc/1/ns/uts"}]},"hostname":"h"}
            """)!.AsObject();
        Assert.True(new GuestSpec(new PodNamespaces(folder.Path)).Adapt(spec, "id"));
        Assert.Equal(
            $$$"""{"linux":{"cgroupsPath":"/kuasar/id","namespaces":[{"type":"mount"},{"type":"ipc","path":"{{{folder.Path}}}/ipc"},{"type":"uts","path":"{{{folder.Path}}}/uts"}]}}""",
            spec.ToJsonString());
        Assert.False(new GuestSpec(new PodNamespaces(folder.Path)).Adapt(spec, "id"));
    }

    [Fact]
    public void Kernel_command_line_is_read_word_by_word()
    {
        Assert.Equal(new KernelCommandLine(LogLevel.Information, "virtiofs", 1026), KernelCommandLine.Parse("console=ttyS0 quiet\n"));
        Assert.Equal(new KernelCommandLine(LogLevel.Debug, "9p", 0), KernelCommandLine.Parse("task.debug task.sharefs_type=9p kuasar.ready_port=0"));
        Assert.Equal(LogLevel.Warning, KernelCommandLine.Parse("task.log_level=warn kuasar.ready_port=x").LogLevel);
    }
}
