using System.Formats.Tar;
using System.Text.Json.Nodes;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>The image that eng/containerd.sh makes: one layer, whose digest names the snapshot to start from.</summary>
internal static class BusyboxImage
{
    internal const string Name = "localhost/busybox:1", Pause = "localhost/pause:1";

    internal static async Task<string> LayerAsync(string bedFolder)
    {
        var blobs = new Dictionary<string, JsonNode>(StringComparer.Ordinal);
        await using var file = File.OpenRead(Path.Combine(bedFolder, "images/busybox.tar"));
        await using var tar = new TarReader(file);
        while (await tar.GetNextEntryAsync() is { } entry)
        {
            // The layer is megabytes, its descriptions are not.
            if (entry.DataStream is { Length: < 65536 } content)
            {
                try
                {
                    blobs[Path.GetFileName(entry.Name)] = (await JsonNode.ParseAsync(content))!;
                }
                catch (System.Text.Json.JsonException)
                {
                }
            }
        }
        var manifest = blobs[Digest(blobs["index.json"]["manifests"]![0]!)];
        return blobs[Digest(manifest["config"]!)]["rootfs"]!["diff_ids"]![0]!.GetValue<string>();

        static string Digest(JsonNode descriptor) => descriptor["digest"]!.GetValue<string>()["sha256:".Length..];
    }
}
