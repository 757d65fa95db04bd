using Google.Protobuf;
using Grpc.Core;
using RpcStatus = Kuasar.Protocol.Contracts.Rpc.Status;

namespace Kuasar.Protocol.Framing;

/// <summary>gRPC's status and trailers to the wire's status and back.</summary>
internal static class WireStatus
{
    /// <summary>Where Grpc.StatusProto looks for the whole status, details included.</summary>
    internal const string DetailsTrailer = "grpc-status-details-bin";

    /// <summary>The smallest limit of messages that an error fits in, shortened if it must be.</summary>
    internal const int MinMessageSize = 64;

    private const int MaxShortMessage = 1024;

    // Tags, lengths and the code at their longest.
    private const int Overhead = 24;
    private const int MaxBytesPerChar = 3;

    /// <summary>Codes past gRPC's 16 are errors all the same (Rust would read them as OK).</summary>
    internal static Status ToStatus(RpcStatus status) => new(
        status.Code is > 0 and <= (int)StatusCode.Unauthenticated ? (StatusCode)status.Code : StatusCode.Unknown,
        status.Message);

    internal static Metadata TrailersOf(RpcStatus status) =>
        status.Details.Count == 0 ? [] : new Metadata { { DetailsTrailer, status.ToByteArray() } };

    internal static RpcStatus Create(StatusCode code, string? message) =>
        new() { Code = (int)code, Message = message ?? "" };

    /// <summary>A handler's error; details come from the trailer when it speaks of the same code.</summary>
    internal static RpcStatus FromException(RpcException error)
    {
        var status = FromStatus(error.Status);
        if (error.Trailers.GetValueBytes(DetailsTrailer) is { } bytes)
        {
            try
            {
                var rich = RpcStatus.Parser.ParseFrom(bytes);
                if (rich.Code == status.Code)
                {
                    status.Details.Add(rich.Details);
                }
            }
            catch (InvalidProtocolBufferException)
            {
                // The handler's own mistake; the plain status still tells the peer what happened.
            }
        }
        return status;
    }

    /// <summary>OK thrown as an error is still an error, as in Grpc.AspNetCore.</summary>
    internal static RpcStatus FromStatus(Status status) =>
        Create(status.StatusCode == StatusCode.OK ? StatusCode.Unknown : status.StatusCode, status.Detail);

    /// <summary>What is sent of a status that does not fit a frame of <paramref name="limit"/> bytes.</summary>
    internal static RpcStatus Shorten(RpcStatus status, int limit)
    {
        var length = Math.Min(MaxShortMessage, (limit - Overhead) / MaxBytesPerChar);
        return new()
        {
            Code = status.Code,
            Message = status.Message.Length <= length ? status.Message : status.Message[..length],
        };
    }
}
