using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol.Contracts.TaskV3;
using TaskService = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Benchmarks;

/// <summary>What containerd asks most: the state of a task.</summary>
internal static class Sample
{
    internal static readonly StateRequest Request = new() { Id = "5f0d6f1b7c1e4b0f8f4b0f5a0b1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8b9c" };

    internal static readonly StateResponse Response = new()
    {
        Id = Request.Id,
        Bundle = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/" + Request.Id,
        Pid = 4711,
        Stdout = "/run/containerd/fifo/1234567890/stdout",
        Stderr = "/run/containerd/fifo/1234567890/stderr",
        ExitedAt = new Timestamp(),
    };

    internal static BytesValue Blob(int size) => new() { Value = UnsafeByteOperations.UnsafeWrap(new byte[size]) };
}

internal sealed class SampleService : TaskService.TaskBase
{
    private static readonly Task<StateResponse> Answer = System.Threading.Tasks.Task.FromResult(Sample.Response);

    public override Task<StateResponse> State(StateRequest request, ServerCallContext context) => Answer;
}
