using Grpc.Core;

namespace Kuasar.Sandbox;

/// <summary>What went wrong, in the kinds that containerd's clients act on (errdefs).</summary>
public enum SandboxError
{
    /// <summary>Nothing more is known than the message.</summary>
    Unknown,

    /// <summary>The request itself is wrong.</summary>
    InvalidArgument,

    /// <summary>No such sandbox, task, process or file, or it has finished.</summary>
    NotFound,

    /// <summary>The id is taken.</summary>
    AlreadyExists,

    /// <summary>Not in this state.</summary>
    FailedPrecondition,

    /// <summary>This sandboxer does not do that.</summary>
    Unimplemented,

    /// <summary>Not now; a later try may succeed.</summary>
    Unavailable,

    /// <summary>It took longer than it may.</summary>
    DeadlineExceeded,
}

/// <summary>The one exception that a sandboxer throws on purpose. It reaches containerd as a status of the same kind and text.</summary>
public sealed class SandboxException : Exception
{
    /// <summary>An error of a kind, with a text for the person who reads containerd's log.</summary>
    public SandboxException(SandboxError error, string message, Exception? inner = null)
        : base(message, inner) => Error = error;

    /// <summary>The kind.</summary>
    public SandboxError Error { get; }

    internal static Status? ToStatus(Exception exception) => exception switch
    {
        SandboxException e => new Status(e.Error switch
        {
            SandboxError.InvalidArgument => StatusCode.InvalidArgument,
            SandboxError.NotFound => StatusCode.NotFound,
            SandboxError.AlreadyExists => StatusCode.AlreadyExists,
            SandboxError.FailedPrecondition => StatusCode.FailedPrecondition,
            SandboxError.Unimplemented => StatusCode.Unimplemented,
            SandboxError.Unavailable => StatusCode.Unavailable,
            SandboxError.DeadlineExceeded => StatusCode.DeadlineExceeded,
            _ => StatusCode.Unknown,
        }, e.Message),
        // What the system refused (a mount, a file) is an answer, not a fault of ours.
        IOException or UnauthorizedAccessException => new Status(StatusCode.Unknown, exception.Message),
        _ => null,
    };
}
