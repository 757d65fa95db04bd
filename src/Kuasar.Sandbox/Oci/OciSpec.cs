using System.Text.Json;
using System.Text.Json.Nodes;

namespace Kuasar.Sandbox;

/// <summary>An OCI runtime spec (config.json). What is not named here is kept as it is and read through <see cref="Json"/>.</summary>
public sealed class OciSpec
{
    private const int MaxSize = 16 << 20;

    /// <summary>Of a name that comes twice, readers could each take another value.</summary>
    internal static JsonDocumentOptions Strict { get; } = new() { AllowDuplicateProperties = false };

    private readonly string _bundle;
    private JsonObject? _json;
    private bool? _hasOwnPidNamespace;

    private OciSpec(string bundle)
    {
        _bundle = bundle;
        _json = Read(bundle);
    }

    /// <summary>
    /// The whole document; the caller may change it and <see cref="Save"/> it while the container is made. Afterwards each read gives a new
    /// copy of what config.json holds, which takes tens of KiB.
    /// </summary>
    /// <exception cref="SandboxException">As <see cref="Load"/>, once the container is made.</exception>
    public JsonObject Json => _json ?? Read(_bundle);

    /// <summary>The annotation's value, or null.</summary>
    public string? Annotation(string key) => Text(Member(Json["annotations"], key));

    /// <summary>Whether the process has a pid namespace of its own, made with the container.</summary>
    public bool HasOwnPidNamespace => _hasOwnPidNamespace ?? (
        Member(Json["linux"], "namespaces") is JsonArray namespaces
        && namespaces.Any(n => Text(Member(n, "type")) == "pid" && string.IsNullOrEmpty(Text(Member(n, "path")))));

    /// <summary>Reads a bundle's config.json.</summary>
    /// <exception cref="SandboxException">NotFound: there is none. InvalidArgument: it is no OCI spec, or larger than 16 MiB.</exception>
    public static OciSpec Load(string bundle) => new(bundle);

    /// <summary>Lets the document go: a container that runs has no use for it.</summary>
    internal void Release()
    {
        _hasOwnPidNamespace = HasOwnPidNamespace;
        _json = null;
    }

    /// <summary>Writes the document as a bundle's config.json, in place of what is there: OCI runtimes read it from there.</summary>
    /// <exception cref="IOException">It cannot be written; the old one is still there.</exception>
    public void Save(string bundle)
    {
        var path = Path.Combine(bundle, "config.json");
        var temporary = path + ".new";
        using (var file = File.Create(temporary))
        using (var writer = new Utf8JsonWriter(file))
        {
            Json.WriteTo(writer);
        }
        File.Move(temporary, path, overwrite: true);
    }

    private static JsonObject Read(string bundle)
    {
        var path = Path.Combine(bundle, "config.json");
        try
        {
            using var file = File.OpenRead(path);
            if (file.Length > MaxSize)
            {
                throw new SandboxException(SandboxError.InvalidArgument, $"{path} is larger than {MaxSize} bytes");
            }
            return Check(JsonNode.Parse(file, documentOptions: Strict) as JsonObject, path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new SandboxException(SandboxError.NotFound, $"the bundle has no config.json: {path}", e);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new SandboxException(SandboxError.InvalidArgument, $"{path} is not an OCI spec: {e.Message}", e);
        }
    }

    private static JsonObject Check(JsonObject? json, string path) =>
        json?["ociVersion"] is not null
            ? json
            : throw new SandboxException(SandboxError.InvalidArgument, $"{path} is not an OCI spec: no ociVersion");

    internal static JsonNode? Member(JsonNode? node, string name) => (node as JsonObject)?[name];

    internal static string? Text(JsonNode? node) => node is JsonValue value && value.TryGetValue<string>(out var text) ? text : null;
}
