using System.Text;
using System.Text.Json.Nodes;
using Kuasar.Vmm.ApiServers.OpenApi;
using Kuasar.Vmm.Hypervisors;
using Kuasar.Vmm.Hypervisors.Rest;

namespace Kuasar.Vmm.Conformance.Tests.Rest;

/// <summary>What the two drivers read and write, from bytes.</summary>
public sealed class FormatTests
{
    [Theory]
    [InlineData("", "no reason given")]
    [InlineData("""{"fault_message":"Cannot create vsock."}""", "Cannot create vsock.")]
    [InlineData("""["Error from API","The VM could not boot","no kernel"]""", "Error from API: The VM could not boot: no kernel")]
    [InlineData("plain text", "plain text")]
    [InlineData("[null]", "")]
    [InlineData("{}", "{}")]
    [InlineData("{", "{")]
    public void An_error_is_told_in_the_hypervisors_words(string body, string error) =>
        Assert.Equal(error, ApiReply.Parse(500, Encoding.UTF8.GetBytes(body)).Error);

    [Theory]
    [InlineData("", LastEventName.None)]
    [InlineData("vmm starting;vm booting;vm booted", LastEventName.None)]
    [InlineData("vm booted;vm shutdown;vm deleted;vmm shutdown", LastEventName.Shutdown)]
    [InlineData("vm booted;vm rebooting;vm shutdown", LastEventName.Reset)]
    [InlineData("vm booted;guest panic;vm rebooting;vm shutdown", LastEventName.Panic)]
    [InlineData("vm rebooting;vm shutdown;vm rebooted", LastEventName.None)]
    [InlineData("vm restoring;vm restored;vm paused;vm resumed", LastEventName.None)]
    public void The_event_log_tells_how_a_machine_ended(string events, LastEventName last)
    {
        var text = new StringBuilder();
        foreach (var entry in events.Split(';', StringSplitOptions.RemoveEmptyEntries))
        {
            var words = entry.Split(' ');
            // Version 54 indents them.
            text.Append($"{{\n  \"timestamp\": {{\n    \"secs\": 1,\n    \"nanos\": 5\n  }},\n  \"source\": \"{words[0]}\",\n  \"event\": \"{words[1]}\",\n  \"properties\": null\n}}\n\n");
        }
        Assert.Equal($"{last}", $"{EventLog.Parse(Encoding.UTF8.GetBytes(text.ToString()))}");
        // The next event was being written when the process died.
        text.Append("{\n  \"timestamp\": {");
        Assert.Equal($"{last}", $"{EventLog.Parse(Encoding.UTF8.GetBytes(text.ToString()))}");
    }

    /// <summary>The names of an enumeration that is not public.</summary>
    public enum LastEventName
    {
        None,
        Shutdown,
        Reset,
        Panic,
    }

    [Fact]
    public void Of_a_long_event_log_the_end_counts()
    {
        using var scratch = new Bench.ScratchFolder();
        var many = string.Concat(Enumerable.Repeat("{\"source\":\"vm\",\"event\":\"paused\"}\n\n{\"source\":\"vm\",\"event\":\"resumed\"}\n\n", 5000));
        File.WriteAllText(scratch.Path("events"), many + "{\"source\":\"vm\",\"event\":\"rebooting\"}\n\n");
        Assert.Equal(LastEvent.Reset, EventLog.Read(scratch.Path("events")));
        Assert.Equal(LastEvent.None, EventLog.Read(scratch.Path("none")));
    }

    [Theory]
    [InlineData("", "panic=-1 reboot=k")]
    [InlineData("console=ttyS0  quiet", "console=ttyS0 quiet panic=-1 reboot=k")]
    [InlineData("panic=5 reboot=t", "panic=5 reboot=t")]
    [InlineData("nopanic=1", "nopanic=1 panic=-1 reboot=k")]
    public void A_command_line_gets_what_it_does_not_have(string line, string result) =>
        Assert.Equal(result, KernelCommandLine.With(line, "panic=-1", "reboot=k"));

    [Theory]
    [InlineData("disk-1", "disk_d1")]
    [InlineData("disk_1", "disk__1")]
    [InlineData("disk_d1", "disk__d1")]
    [InlineData("a", "a")]
    public void Firecracker_gets_ids_that_it_takes(string id, string given) => Assert.Equal(given, FirecrackerConfig.IdOf(id));

    [Fact]
    public void A_snapshot_is_seen_with_the_new_machines_paths()
    {
        var config = new VmConfig { Kernel = "/k", Disks = [new VmDisk("a", "/new/a")], Vsock = new VmVsock(5), ConsoleLog = "/new/console" };
        var saved = JsonNode.Parse("""
            {"payload":{"kernel":"/old/k"},"disks":[{"id":"a","path":"/old/a","readonly":true}],"net":null,"fs":null,
             "vsock":{"cid":5,"socket":"/old/vsock"},"serial":{"mode":"File","file":"/old/console"},"kept":1}
            """)!.AsObject();
        SnapshotView.Adapt(saved, config, "/new/kernel", "/new/vsock");
        Assert.Equal("/new/a", (string?)saved["disks"]![0]!["path"]);
        Assert.True((bool)saved["disks"]![0]!["readonly"]!);
        Assert.Equal("/new/kernel", (string?)saved["payload"]!["kernel"]);
        Assert.Equal("/new/vsock", (string?)saved["vsock"]!["socket"]);
        Assert.Equal("/new/console", (string?)saved["serial"]!["file"]);
        Assert.Equal(1, (int)saved["kept"]!);

        Assert.Throws<VmException>(() => SnapshotView.Adapt(saved, config with { Disks = [] }, "/k", "/v"));
        Assert.Throws<VmException>(() => SnapshotView.Adapt(saved, config with { Disks = [new VmDisk("b", "/new/b")] }, "/k", "/v"));
        Assert.Throws<VmException>(() => SnapshotView.Adapt(saved, config with { Vsock = null }, "/k", "/v"));
    }

    [Fact]
    public void A_whole_machine_is_what_the_OpenAPI_files_allow()
    {
        var config = new VmConfig
        {
            Kernel = "/k", Initrd = "/i", CommandLine = "quiet", Vcpus = 2, MaxVcpus = 4, MemoryBytes = 256L << 20, MaxMemoryBytes = 512L << 20,
            Disks = [new VmDisk("a-1", "/a") { ReadOnly = true }], Nets = [new VmNet("eth0", "02:00:00:00:00:01") { TapName = "tap0" }],
            FileSystems = [new VmFileSystem("share", "kuasar", "/s")], Vsock = new VmVsock(7), ConsoleLog = "/c",
        };
        var machine = CloudHypervisorConfig.Machine(config, "/link", "/vsock", new Dictionary<string, string> { ["share"] = "/fs" }, shared: true);
        Assert.Null(CloudHypervisorTable.Table.Refuse("VmConfig", Parse(machine)));

        foreach (var (path, body) in FirecrackerConfig.Machine(config, "/vsock", pci: false).Append(FirecrackerConfig.Serial("/c")))
        {
            var operation = FirecrackerTable.Table.Find("PUT", path);
            Assert.NotNull(operation);
            Assert.Null(FirecrackerTable.Table.Refuse(operation.Body!, Parse(body)));
        }

        static System.Text.Json.JsonElement Parse(JsonObject body) => System.Text.Json.JsonDocument.Parse(body.ToJsonString()).RootElement;
    }
}
