using Grpc.Core;
using Kuasar.Protocol.Framing;

namespace Kuasar.Protocol.Server;

/// <summary>A bound method: makes the calls of its kind.</summary>
internal abstract class ServerMethod(string fullName)
{
    /// <summary>"/service/method".</summary>
    internal string FullName { get; } = fullName;

    internal virtual bool IsUnary => false;

    internal abstract ServerCall CreateCall(ServerConnection connection, in RequestStart start);
}

/// <summary>What a request frame says besides its message; <paramref name="Size"/> is what of it is kept, in bytes.</summary>
internal readonly record struct RequestStart(uint StreamId, FrameFlags Flags, Metadata? Headers, long TimeoutNano, int Size);

internal sealed class UnaryMethod<TRequest, TResponse>(
    Method<TRequest, TResponse> method, string fullName, UnaryServerMethod<TRequest, TResponse> handler) : ServerMethod(fullName)
    where TRequest : class
    where TResponse : class
{
    internal Method<TRequest, TResponse> Method { get; } = method;
    internal UnaryServerMethod<TRequest, TResponse> Handler { get; } = handler;
    internal override bool IsUnary => true;

    internal override ServerCall CreateCall(ServerConnection connection, in RequestStart start) =>
        new UnaryServerCall<TRequest, TResponse>(connection, this, start);
}

internal sealed class StreamMethod<TRequest, TResponse>(
    Method<TRequest, TResponse> method, string fullName, Func<StreamServerCall<TRequest, TResponse>, Task> handler)
    : ServerMethod(fullName)
    where TRequest : class
    where TResponse : class
{
    internal Method<TRequest, TResponse> Method { get; } = method;
    internal Func<StreamServerCall<TRequest, TResponse>, Task> Handler { get; } = handler;

    internal override ServerCall CreateCall(ServerConnection connection, in RequestStart start) =>
        new StreamServerCall<TRequest, TResponse>(connection, this, start);
}
