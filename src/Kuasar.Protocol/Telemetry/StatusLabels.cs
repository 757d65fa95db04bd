using Grpc.Core;

namespace Kuasar.Protocol.Telemetry;

/// <summary>What spans and metrics say of a status, boxed once.</summary>
internal static class StatusLabels
{
    internal const string CodeKey = "rpc.ttrpc.status_code";
    internal const string ErrorKey = "error.type";

    private static readonly string[] Names =
    [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
        "UNAUTHENTICATED",
    ];

    private static readonly object[] Codes = [.. Names.Select((_, code) => (object)code)];

    /// <summary>The number; handlers may make up codes past gRPC's.</summary>
    internal static object Code(StatusCode code) => (uint)code < Codes.Length ? Codes[(int)code] : (int)code;

    internal static string Name(StatusCode code) => (uint)code < Names.Length ? Names[(int)code] : code.ToString();

    /// <summary>To a client every error is one; to a server those are that speak of itself rather than of the request.</summary>
    internal static bool IsError(StatusCode code, bool server) => server
        ? code is StatusCode.Unknown or StatusCode.DeadlineExceeded or StatusCode.Unimplemented or StatusCode.Internal
            or StatusCode.Unavailable or StatusCode.DataLoss
        : code != StatusCode.OK;
}
