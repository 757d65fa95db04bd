using Kuasar.Vmm.ApiServers.OpenApi;

namespace Kuasar.Vmm.Conformance.Tests.OpenApi;

/// <summary>
/// What the API servers hold drivers to, compared with the published files: names, types, what is required, and codes. The files are the VMMs', so
/// the comparison is made when asked for (CONTRIBUTING.md), as when a table is changed.
/// </summary>
public sealed class TablesTests
{
    [Fact(Explicit = true)]
    public void Cloud_Hypervisors_table_is_what_its_file_says() => Compare(
        CloudHypervisorTable.Table, OpenApiFile.Open("cloud-hypervisor.yaml", "vmm/src/api/openapi/cloud-hypervisor.yaml"));

    [Fact(Explicit = true)]
    public void Firecrackers_table_is_what_its_file_says() => Compare(
        FirecrackerTable.Table,
        OpenApiFile.Open("firecracker.yaml", "src/firecracker/swagger/firecracker.yaml"),
        // Documented in docs/device-hotplug.md alone.
        notInFile: operation => operation.Method == "DELETE");

    [Theory]
    [InlineData("""{"tag":"share","socket":"s","num_queues":1,"queue_size":1024}""", null)]
    [InlineData("""{"tag":"share","socket":"s","num_queues":1}""", "FsConfig: missing field `queue_size`")]
    [InlineData("""{"tag":"share","socket":"s","num_queues":1,"queue_size":1024,"dax":true}""", "FsConfig.dax: unknown field `dax`")]
    [InlineData("""{"tag":1,"socket":"s","num_queues":1,"queue_size":1024}""", "FsConfig.tag: expected a string")]
    [InlineData("""{"tag":"share","socket":"s","num_queues":"1","queue_size":1024}""", "FsConfig.num_queues: expected an integer")]
    public void A_request_is_held_to_the_table(string body, string? error) =>
        Assert.Equal(error, CloudHypervisorTable.Table.Refuse("FsConfig", System.Text.Json.JsonDocument.Parse(body).RootElement));

    private static void Compare(ApiTable table, OpenApiFile file, Func<Operation, bool>? notInFile = null)
    {
        var differences = new List<string>();
        foreach (var schema in table.Schemas)
        {
            var published = file.Schema(schema.Name);
            // The file may have more fields than a driver uses, but none more that is required.
            differences.AddRange(schema.Fields.Where(f => published?.Fields.Contains(f) is not true).Select(f => $"{schema.Name}: {f}"));
            differences.AddRange((published?.Fields ?? []).Where(f => f.Required && !schema.Fields.Contains(f)).Select(f => $"{schema.Name} lacks {f}"));
        }
        foreach (var operation in table.Operations.Where(o => notInFile?.Invoke(o) is not true))
        {
            var published = file.Operation(operation.Method, operation.Path);
            if (published?.Body != operation.Body || !published!.Statuses.SequenceEqual(operation.Statuses))
            {
                differences.Add($"{operation.Method} {operation.Path}: {published?.Body} {string.Join(' ', published?.Statuses ?? [])}");
            }
        }
        Assert.Empty(differences);
    }
}
