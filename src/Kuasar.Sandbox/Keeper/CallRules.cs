namespace Kuasar.Sandbox.Keeper;

/// <summary>What becomes of a call whose sandboxer died while it was under way.</summary>
internal enum CallRule : byte
{
    /// <summary>Nobody can know what was done: it is answered Unavailable. All that is not named below.</summary>
    Answer,

    /// <summary>Reads, waits, and what may be asked twice with the same outcome: the next sandboxer is asked.</summary>
    AskAgain,

    /// <summary>
    /// An act that may be begun anew, since whoever does it undoes first what it finds half-done, and knows by
    /// <see cref="TtrpcFrame.AskedBefore"/> what it finds done: the next sandboxer is asked. An upgrade waits for it as for any act.
    /// </summary>
    BeginAnew,

    /// <summary>Several messages, some of them said and gone: it is answered Unavailable.</summary>
    Stream,
}

/// <summary>
/// Which calls may be asked again. Reads and waits by what they are; Shutdown, CloseIO, ResizePty, Update, Resolve and Remove because the
/// sandboxer's own rules make them the same when they are asked twice. A Create that fails would make containerd give up the shim, and the
/// sandboxer removes what an earlier one left of the id before it makes a task, or answers for the task that is already made.
/// </summary>
internal static class CallRules
{
    internal static CallRule Of(ReadOnlySpan<byte> header, ReadOnlySpan<byte> data)
    {
        if (TtrpcFrame.OpensStream(header))
        {
            return CallRule.Stream;
        }
        TtrpcFrame.Names(data, out var service, out var method);
        return IsAskedAgain(service, method) ? CallRule.AskAgain
            : IsTask(service) && method.SequenceEqual("Create"u8) ? CallRule.BeginAnew
            : CallRule.Answer;
    }

    private static bool IsAskedAgain(ReadOnlySpan<byte> service, ReadOnlySpan<byte> method)
    {
        if (IsTask(service))
        {
            return method.SequenceEqual("Wait"u8) || method.SequenceEqual("State"u8) || method.SequenceEqual("Pids"u8)
                || method.SequenceEqual("Connect"u8) || method.SequenceEqual("Stats"u8) || method.SequenceEqual("Shutdown"u8)
                || method.SequenceEqual("CloseIO"u8) || method.SequenceEqual("ResizePty"u8) || method.SequenceEqual("Update"u8);
        }
        if (service.SequenceEqual("containerd.runtime.sandbox.v1.Sandbox"u8))
        {
            return method.SequenceEqual("WaitSandbox"u8) || method.SequenceEqual("SandboxStatus"u8) || method.SequenceEqual("PingSandbox"u8)
                || method.SequenceEqual("Platform"u8) || method.SequenceEqual("SandboxMetrics"u8);
        }
        return service.SequenceEqual("kuasar.control.v1.Control"u8)
            && (method.SequenceEqual("Resolve"u8) || method.SequenceEqual("Remove"u8) || method.SequenceEqual("Info"u8));
    }

    private static bool IsTask(ReadOnlySpan<byte> service) =>
        service.SequenceEqual("containerd.task.v3.Task"u8) || service.SequenceEqual("containerd.task.v2.Task"u8);
}
