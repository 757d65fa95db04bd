using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using DuplexCall = Grpc.Core.AsyncDuplexStreamingCall<Google.Protobuf.WellKnownTypes.Any, Google.Protobuf.WellKnownTypes.Any>;

namespace Kuasar.Vmm.Agent;

/// <summary>What both directions of containerd's streaming service have in common.</summary>
/// <remarks>
/// <code>
///   host                            guest
///   Any(StreamInit{id})                                         with a position (ours): no output before the first update
///                                   Any(Empty)                  the stream stands
///                                   Any(StreamInit{position})   stdin's, where asked for by a position (ours)
///   stdin:  Any(Data), end          Any(WindowUpdate) ...       32 KiB each
///   output: Any(WindowUpdate)       Any(Data) ..., end          an empty Data is an end too; the first update is the window, others acknowledge
/// </code>
/// </remarks>
internal static class AgentStreams
{
    /// <summary>Opens the stream; the client stays the caller's.</summary>
    internal static async Task<DuplexCall> OpenAsync(TtrpcClient client, StreamInit init, Func<Task<bool>, Task<bool>>? wait, CancellationToken cancellationToken)
    {
        var streamId = init.Id;
        var call = new Streaming.StreamingClient(client).Stream(cancellationToken: CancellationToken.None);
        try
        {
            await call.RequestStream.WriteAsync(TypeUrl.Pack(init), cancellationToken).ConfigureAwait(false);
            var answer = call.ResponseStream.MoveNext(cancellationToken);
            if (!await (wait is null ? answer : wait(answer)).ConfigureAwait(false))
            {
                throw new IOException($"stream {streamId}: the agent closed it at once");
            }
            return TypeUrl.Is<Empty>(call.ResponseStream.Current)
                ? call
                : throw new IOException($"stream {streamId}: the answer is a {call.ResponseStream.Current.TypeUrl}");
        }
        catch (RpcException error)
        {
            call.Dispose();
            throw Failed(streamId, error, cancellationToken);
        }
        catch
        {
            call.Dispose();
            throw;
        }
    }

    internal static Exception Failed(string streamId, RpcException error, CancellationToken cancellationToken = default) =>
        cancellationToken.IsCancellationRequested ? new OperationCanceledException(cancellationToken)
        : error.StatusCode == StatusCode.Unavailable ? new VsockException(VsockFailure.Lost, $"stream {streamId}: {error.Status.Detail}", error)
        : new IOException($"stream {streamId}: {error.Status.Detail}", error);
}
