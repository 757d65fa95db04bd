using Google.Protobuf.Reflection;

namespace Kuasar.Protocol.Tests.Contracts;

/// <summary>
/// What the wire and the callers of a contract depend on, as name → text: fields with number, label and type, enum values,
/// methods with their messages. Comments, options of other languages and file layout are left out.
/// </summary>
internal sealed class WireShape
{
    private readonly IReadOnlyDictionary<string, string> _renamed;
    private readonly SortedDictionary<string, string> _facts = new(StringComparer.Ordinal);

    /// <param name="files">Of one package.</param>
    /// <param name="renamed">Messages to read under another full name.</param>
    internal WireShape(IEnumerable<FileDescriptorProto> files, IReadOnlyDictionary<string, string>? renamed = null)
    {
        _renamed = renamed ?? new Dictionary<string, string>();
        foreach (var file in files)
        {
            foreach (var message in file.MessageType)
            {
                Add(message, file.Package);
            }
            foreach (var type in file.EnumType)
            {
                Add(type, file.Package);
            }
            foreach (var service in file.Service)
            {
                Add(service, file.Package);
            }
        }
    }

    internal IReadOnlyDictionary<string, string> Facts => _facts;

    /// <summary>
    /// One line a difference: "missing X" (upstream alone has it), "extra X" (we alone), "changed X: theirs → ours".
    /// What lies inside a missing or extra message, enum or service is not listed again.
    /// </summary>
    internal static IEnumerable<string> Compare(WireShape upstream, WireShape ours)
    {
        foreach (var (name, theirs) in upstream._facts)
        {
            if (!ours._facts.TryGetValue(name, out var own))
            {
                if (!LiesIn(name, upstream, ours))
                {
                    yield return $"missing {name}";
                }
            }
            else if (own != theirs)
            {
                yield return $"changed {name}: {theirs} → {own}";
            }
        }
        foreach (var name in ours._facts.Keys)
        {
            if (!upstream._facts.ContainsKey(name) && !LiesIn(name, ours, upstream))
            {
                yield return $"extra {name}";
            }
        }
    }

    private static bool LiesIn(string name, WireShape has, WireShape lacks)
    {
        for (var dot = name.LastIndexOf('.'); dot > 0; dot = name.LastIndexOf('.', dot - 1))
        {
            var outer = name[..dot];
            if (has._facts.ContainsKey(outer) && !lacks._facts.ContainsKey(outer))
            {
                return true;
            }
        }
        return false;
    }

    private void Add(DescriptorProto message, string scope)
    {
        var name = Renamed($"{scope}.{message.Name}");
        _facts.Add(name, "message");
        foreach (var field in message.Field)
        {
            var type = field.TypeName.Length > 0 ? Renamed(field.TypeName[1..]) : field.Type.ToString();
            var oneof = !field.HasOneofIndex ? "" : field.Proto3Optional ? " optional" : $" in {message.OneofDecl[field.OneofIndex].Name}";
            var packed = field.Options is { HasPacked: true } options ? $" packed {options.Packed}" : "";
            _facts.Add($"{name}.{field.Name}", $"{field.Number} {field.Label} {field.Type} {type}{oneof}{packed}");
        }
        foreach (var nested in message.NestedType)
        {
            Add(nested, name);
        }
        foreach (var nested in message.EnumType)
        {
            Add(nested, name);
        }
    }

    private void Add(EnumDescriptorProto type, string scope)
    {
        var name = $"{scope}.{type.Name}";
        _facts.Add(name, "enum");
        foreach (var value in type.Value)
        {
            _facts.Add($"{name}.{value.Name}", $"{value.Number}");
        }
    }

    private void Add(ServiceDescriptorProto service, string scope)
    {
        var name = $"{scope}.{service.Name}";
        _facts.Add(name, "service");
        foreach (var method in service.Method)
        {
            _facts.Add(
                $"{name}.{method.Name}",
                $"{Stream(method.ClientStreaming)}{Renamed(method.InputType[1..])} → {Stream(method.ServerStreaming)}{Renamed(method.OutputType[1..])}");
        }

        static string Stream(bool streaming) => streaming ? "stream " : "";
    }

    private string Renamed(string name)
    {
        foreach (var (from, to) in _renamed)
        {
            if (name == from || name.StartsWith(from + ".", StringComparison.Ordinal))
            {
                return to + name[from.Length..];
            }
        }
        return name;
    }
}
