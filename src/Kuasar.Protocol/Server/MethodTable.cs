using System.Buffers;
using System.Text;
using Grpc.Core;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Server;

/// <summary>The methods a server knows, found by the bytes of a request without a string.</summary>
internal sealed class MethodTable
{
    private const int MaxStackName = 256;

    private readonly Dictionary<string, ServerMethod> _methods = new(StringComparer.Ordinal);
    private readonly HashSet<string> _services = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ServerMethod>.AlternateLookup<ReadOnlySpan<char>> _lookup;
    private volatile bool _frozen;

    internal MethodTable() => _lookup = _methods.GetAlternateLookup<ReadOnlySpan<char>>();

    /// <summary>Serving has begun: the table is read without a lock from now on.</summary>
    internal void Freeze() => _frozen = true;

    internal void Add(string serviceName, ServerMethod method)
    {
        if (_frozen)
        {
            throw new InvalidOperationException("Services are bound before serving.");
        }
        _methods.Add(method.FullName, method);
        _services.Add(serviceName);
    }

    /// <summary>Null when there is no such method; the message then says whether the service is unknown as well.</summary>
    /// <exception cref="InvalidDataException">The name is no UTF-8.</exception>
    internal ServerMethod? Find(in RequestEnvelope request, out string message)
    {
        message = "";
        var size = (int)(request.Service.Length + request.Method.Length) + 2;
        if (size <= MaxStackName)
        {
            Span<byte> bytes = stackalloc byte[MaxStackName];
            Span<char> chars = stackalloc char[MaxStackName];
            // Of malformed UTF-8 comes U+FFFD, and no method has that in its name.
            var found = _lookup.TryGetValue(chars[..Encoding.UTF8.GetChars(Join(request, bytes), chars)], out var method);
            if (found)
            {
                return method;
            }
        }
        var service = FieldReader.Decode(request.Service);
        message = _services.Contains(service)
            ? $"unknown method '{FieldReader.Decode(request.Method)}' of service '{service}'"
            : $"unknown service '{service}'";
        return null;
    }

    // "/service/method", as gRPC has it.
    private static ReadOnlySpan<byte> Join(in RequestEnvelope request, Span<byte> bytes)
    {
        bytes[0] = (byte)'/';
        request.Service.CopyTo(bytes[1..]);
        var split = (int)request.Service.Length + 1;
        bytes[split] = (byte)'/';
        request.Method.CopyTo(bytes[(split + 1)..]);
        return bytes[..(split + 1 + (int)request.Method.Length)];
    }
}
