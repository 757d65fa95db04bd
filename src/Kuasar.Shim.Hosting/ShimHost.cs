using Google.Protobuf;
using Kuasar.Linux;
using Kuasar.Shim.Hosting.Internal;

namespace Kuasar.Shim.Hosting;

/// <summary>A whole containerd shim: one call from <c>Main</c>.</summary>
public static class ShimHost
{
    /// <summary>Does what containerd asks for on the command line; the exit code.</summary>
    /// <remarks>Blocking and single-threaded on purpose: containerd waits for this process in every start and delete of a pod.</remarks>
    /// <exception cref="ArgumentException"><paramref name="options"/> do not make sense.</exception>
    public static int Run(string[] args, ShimOptions options)
    {
        ArgumentNullException.ThrowIfNull(args);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        try
        {
            var command = CommandLine.Parse(args);
            switch (command.Action)
            {
                case ShimAction.Help:
                    StandardStreams.WriteOutput(CommandLine.Usage);
                    return 0;
                case ShimAction.Version:
                    StandardStreams.WriteOutput($"{options.Name} {options.Version}\n");
                    return 0;
                case ShimAction.Info:
                    return InfoCommand.Run(ShimSettings.Load(options));
                case ShimAction.Start:
                    return StartCommand.Run(ShimSettings.Load(options), command);
                default:
                    return DeleteCommand.Run(ShimSettings.Load(options), command);
            }
        }
        catch (UsageException e)
        {
            StandardStreams.WriteError(options.ShortName, e.Message);
            return 2;
        }
        catch (Exception e) when (e is ShimException or IOException or InvalidDataException or UnauthorizedAccessException or InvalidProtocolBufferException)
        {
            StandardStreams.WriteError(options.ShortName, e.Message);
            return 1;
        }
    }
}
