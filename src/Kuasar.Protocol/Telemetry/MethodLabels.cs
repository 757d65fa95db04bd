using System.Runtime.CompilerServices;
using Grpc.Core;
using Kuasar.Protocol.Server;

namespace Kuasar.Protocol.Telemetry;

/// <summary>What spans and metrics say of a method; made when somebody listens, once per method.</summary>
internal sealed class MethodLabels
{
    // Weak: methods made at run time do not pile up here.
    private static readonly ConditionalWeakTable<object, MethodLabels> Known = [];

    private MethodLabels(string fullName)
    {
        var split = fullName.LastIndexOf('/');
        SpanName = fullName[1..];
        Tags =
        [
            // The keys of containerd's otelttrpc, so that one question finds the spans of both ends.
            new("rpc.system", "ttrpc"),
            new("rpc.service", fullName[1..split]),
            new("rpc.method", fullName[(split + 1)..]),
        ];
    }

    /// <summary>"service/method".</summary>
    internal string SpanName { get; }

    internal KeyValuePair<string, object?>[] Tags { get; }

    internal static MethodLabels Of(IMethod method) => Known.GetValue(method, static method => new(((IMethod)method).FullName));

    internal static MethodLabels Of(ServerMethod method) => Known.GetValue(method, static method => new(((ServerMethod)method).FullName));
}
