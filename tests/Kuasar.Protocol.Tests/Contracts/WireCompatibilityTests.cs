using System.Reflection;
using Google.Protobuf.Reflection;

namespace Kuasar.Protocol.Tests.Contracts;

/// <summary>Our contracts, written by hand, against those of containerd and Kubernetes as Debian packages them.</summary>
public sealed class WireCompatibilityTests(ITestOutputHelper output)
{
    private static readonly ILookup<string, FileDescriptorProto> s_ours =
        new[] { typeof(TypeUrl).Assembly, typeof(Testing.ContainerdChannel).Assembly }
            .SelectMany(assembly => assembly.GetTypes())
            .Where(type => type.Name.EndsWith("Reflection", StringComparison.Ordinal))
            .Select(type => type.GetProperty("Descriptor", BindingFlags.Public | BindingFlags.Static)?.GetValue(null))
            .OfType<FileDescriptor>()
            .ToLookup(file => file.Package, file => file.ToProto());

    public static TheoryData<string> Packages => [.. Claims.Whole, .. Claims.Parts];

    [Theory]
    [MemberData(nameof(Packages))]
    public void Package_agrees_with_upstream(string package)
    {
        var upstream = UpstreamProtos.Get();
        if (upstream.Unavailable is { } reason)
        {
            Assert.Skip(reason);
        }
        Assert.NotEmpty(s_ours[package]);

        var differences = Differences(package, upstream.Files).ToHashSet();
        var allowed = Claims.Allowed.Where(entry => entry.Package == package)
            .SelectMany(entry => entry.Differences, (entry, difference) => (difference, entry.Reason))
            .ToDictionary(entry => entry.difference, entry => entry.Reason);
        var unexpected = differences.Where(difference => !allowed.ContainsKey(difference)).Order(StringComparer.Ordinal).ToArray();
        output.WriteLine($"against {upstream.Origin}");
        foreach (var difference in differences.Except(unexpected).Order(StringComparer.Ordinal))
        {
            output.WriteLine($"{difference}  ({allowed[difference]})");
        }
        // What we have ahead of the package is gone from the list when the package catches up, which is its own affair.
        foreach (var difference in allowed.Keys.Except(differences).Order(StringComparer.Ordinal))
        {
            output.WriteLine($"no difference any more, the claim can go: {difference}");
        }
        Assert.True(unexpected.Length == 0, $"Against {upstream.Origin}:\n{string.Join('\n', unexpected)}");
    }

    [Fact]
    public void Every_contract_is_claimed() =>
        Assert.Equal(
            Claims.Whole.Concat(Claims.Parts).Order(StringComparer.Ordinal),
            s_ours.Select(group => group.Key).Except(Claims.Elsewhere).Order(StringComparer.Ordinal));

    [Fact]
    public void Every_allowed_difference_belongs_to_a_claimed_package() =>
        Assert.All(Claims.Allowed, entry => Assert.Contains(entry.Package, Claims.Whole.Concat(Claims.Parts)));

    [Fact]
    public void The_comparison_sees_what_it_should()
    {
        var upstream = new FileDescriptorProto { Package = "p" };
        upstream.MessageType.Add(Message("Same", ("a", 1, FieldDescriptorProto.Types.Type.Uint32)));
        upstream.MessageType.Add(Message("Number", ("a", 1, FieldDescriptorProto.Types.Type.Uint32)));
        upstream.MessageType.Add(Message("Type", ("a", 1, FieldDescriptorProto.Types.Type.Uint32)));
        upstream.MessageType.Add(Message("Field", ("a", 1, FieldDescriptorProto.Types.Type.Uint32)));
        upstream.MessageType.Add(Message("Gone", ("a", 1, FieldDescriptorProto.Types.Type.Uint32)));
        upstream.Service.Add(Service(streaming: false));

        var ours = new FileDescriptorProto { Package = "p" };
        ours.MessageType.Add(Message("Same", ("a", 1, FieldDescriptorProto.Types.Type.Uint32)));
        ours.MessageType.Add(Message("Number", ("a", 2, FieldDescriptorProto.Types.Type.Uint32)));
        ours.MessageType.Add(Message("Type", ("a", 1, FieldDescriptorProto.Types.Type.Int32)));
        ours.MessageType.Add(Message("Field", ("b", 1, FieldDescriptorProto.Types.Type.Uint32)));
        ours.Service.Add(Service(streaming: true));

        Assert.Equal(
            [
                "changed p.Number.a: 1 Optional Uint32 Uint32 → 2 Optional Uint32 Uint32",
                "changed p.S.Call: p.Same → p.Same → p.Same → stream p.Same",
                "changed p.Type.a: 1 Optional Uint32 Uint32 → 1 Optional Int32 Int32",
                "extra p.Field.b",
                "missing p.Field.a",
                "missing p.Gone",
            ],
            WireShape.Compare(new WireShape([upstream]), new WireShape([ours])).Order(StringComparer.Ordinal));
    }

    private static IEnumerable<string> Differences(string package, IReadOnlyList<FileDescriptorProto> upstream)
    {
        var files = upstream.Where(file => file.Package == package).ToArray();
        if (files.Length == 0)
        {
            return ["missing upstream: the whole package"];
        }
        var theirs = new WireShape(files, Claims.Renamed);
        var ours = new WireShape(s_ours[package]);
        var differences = WireShape.Compare(theirs, ours);
        return Claims.Parts.Contains(package) ? differences.Where(difference => !IsLeftOut(difference, theirs, ours)) : differences;
    }

    /// <summary>A whole message, enum, service, or a method of a service that we have.</summary>
    private static bool IsLeftOut(string difference, WireShape theirs, WireShape ours)
    {
        if (!difference.StartsWith("missing ", StringComparison.Ordinal))
        {
            return false;
        }
        var name = difference["missing ".Length..];
        return theirs.Facts[name] is "message" or "enum" or "service"
            || (ours.Facts.TryGetValue(name[..name.LastIndexOf('.')], out var owner) && owner == "service");
    }

    private static DescriptorProto Message(string name, params (string Name, int Number, FieldDescriptorProto.Types.Type Type)[] fields)
    {
        var message = new DescriptorProto { Name = name };
        message.Field.AddRange(fields.Select(field => new FieldDescriptorProto
        {
            Name = field.Name,
            Number = field.Number,
            Type = field.Type,
            Label = FieldDescriptorProto.Types.Label.Optional,
        }));
        return message;
    }

    private static ServiceDescriptorProto Service(bool streaming)
    {
        var service = new ServiceDescriptorProto { Name = "S" };
        service.Method.Add(new MethodDescriptorProto { Name = "Call", InputType = ".p.Same", OutputType = ".p.Same", ServerStreaming = streaming });
        return service;
    }
}
