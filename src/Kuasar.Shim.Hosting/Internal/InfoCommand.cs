using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary><c>-info</c>: what runs behind this shim, asked when CRI starts and before a task that needs to know.</summary>
internal static class InfoCommand
{
    internal static int Run(ShimSettings settings)
    {
        var request = new InfoRequest { Options = StartInput.ParseOptions(StandardStreams.ReadInput()) };
        var response = new InfoResponse();
        using (var connection = SandboxerLauncher.Open(settings))
        {
            connection.Call("Info", request, response);
        }
        StandardStreams.WriteOutput((response.Info ?? throw new ShimException("the sandboxer tells nothing of itself")).Value.Span);
        return 0;
    }
}
