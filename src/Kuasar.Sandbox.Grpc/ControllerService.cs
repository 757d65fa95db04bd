using Grpc.Core;
using Kuasar.Protocol.Contracts.SandboxServices;

namespace Kuasar.Sandbox.Grpc;

/// <summary>gRPC for ASP.NET Core finds the methods of a service by the type it is given; this is that type for the host's controller.</summary>
internal sealed class ControllerService(Controller.ControllerBase controller) : Controller.ControllerBase
{
    public override Task<ControllerCreateResponse> Create(ControllerCreateRequest request, ServerCallContext context) => controller.Create(request, context);

    public override Task<ControllerStartResponse> Start(ControllerStartRequest request, ServerCallContext context) => controller.Start(request, context);

    public override Task<ControllerPlatformResponse> Platform(ControllerPlatformRequest request, ServerCallContext context) =>
        controller.Platform(request, context);

    public override Task<ControllerStopResponse> Stop(ControllerStopRequest request, ServerCallContext context) => controller.Stop(request, context);

    public override Task<ControllerWaitResponse> Wait(ControllerWaitRequest request, ServerCallContext context) => controller.Wait(request, context);

    public override Task<ControllerStatusResponse> Status(ControllerStatusRequest request, ServerCallContext context) => controller.Status(request, context);

    public override Task<ControllerShutdownResponse> Shutdown(ControllerShutdownRequest request, ServerCallContext context) =>
        controller.Shutdown(request, context);

    public override Task<ControllerMetricsResponse> Metrics(ControllerMetricsRequest request, ServerCallContext context) =>
        controller.Metrics(request, context);

    public override Task<ControllerUpdateResponse> Update(ControllerUpdateRequest request, ServerCallContext context) => controller.Update(request, context);
}
