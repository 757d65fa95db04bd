using System.Text;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Bootstrap;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary><c>start</c>: where is the task service for this id? containerd takes stdout and stderr together as the answer.</summary>
internal static class StartCommand
{
    internal static int Run(ShimSettings settings, CommandLine command)
    {
        var input = StartInput.Parse(StandardStreams.ReadInput(), command.Namespace, command.Id);
        var request = new ResolveRequest
        {
            Containerd = Containerd(command, input.Bootstrap),
            Namespace = command.Namespace,
            Id = command.Id,
            Bundle = Libc.CurrentFolder() ?? "",
            Options = input.Options,
            Debug = command.Debug || input.Bootstrap is { LogLevel: <= LogLevel.Debug },
        };
        var response = new ResolveResponse();
        using (var connection = SandboxerLauncher.Open(settings))
        {
            connection.Call("Resolve", request, response);
        }
        if (response.Address.Length == 0 || response.Version is not (2 or 3))
        {
            throw new ShimException($"the sandboxer names no task service that containerd takes: version {response.Version}, address \"{response.Address}\"");
        }
        var answer = Answer(response);
        if (response.Version == 2)
        {
            WriteAddress(answer);
        }
        StandardStreams.WriteOutput(answer);
        return 0;
    }

    /// <summary>The containerd that calls. Its gRPC address names it, to <c>delete</c> too, so the flag comes first.</summary>
    internal static ContainerdInstance Containerd(CommandLine command, BootstrapParams? bootstrap = null)
    {
        var address = First(command.Address, bootstrap?.ContainerdGrpcAddress, Environment.GetEnvironmentVariable("GRPC_ADDRESS"));
        if (address.Length == 0)
        {
            throw new UsageException("flag -address is missing");
        }
        return new ContainerdInstance
        {
            GrpcAddress = address,
            TtrpcAddress = First(bootstrap?.ContainerdTtrpcAddress, Environment.GetEnvironmentVariable("TTRPC_ADDRESS"), address + ".ttrpc"),
            Binary = First(command.PublishBinary, bootstrap?.ContainerdBinary, ""),
            Version = bootstrap?.ContainerdVersion ?? "",
        };
    }

    /// <summary>JSON is the one form that every containerd takes.</summary>
    internal static string Answer(ResolveResponse response) =>
        $"{{\"version\":{response.Version},\"address\":\"{Escape(response.Address)}\",\"protocol\":\"{Escape(response.Protocol.Length > 0 ? response.Protocol : "ttrpc")}\"}}";

    private static string Escape(string text)
    {
        if (text.AsSpan().IndexOfAnyInRange('\0', '\x1F') < 0 && text.AsSpan().IndexOfAny('"', '\\') < 0)
        {
            return text;
        }
        var result = new StringBuilder();
        foreach (var c in text)
        {
            _ = c switch
            {
                '"' or '\\' => result.Append('\\').Append(c),
                < ' ' => result.Append("\\u00").Append(c < 16 ? '0' : '1').Append("0123456789abcdef"[c & 15]),
                _ => result.Append(c),
            };
        }
        return result.ToString();
    }

    // containerd 1.7 finds the task again after its own restart by this file, which the shim has to write.
    private static void WriteAddress(string answer)
    {
        using (var file = Libc.Open(".address", Libc.O_WRONLY | Libc.O_CREAT | Libc.O_TRUNC | Libc.O_NOFOLLOW, Kuasar.Domain.DomainPaths.FileMode))
        {
            Libc.WriteAll(file, Encoding.UTF8.GetBytes(answer), "address");
        }
        Libc.Rename(".address", "address");
    }

    private static string First(string? a, string? b, string? c) => !string.IsNullOrEmpty(a) ? a : !string.IsNullOrEmpty(b) ? b : c ?? "";
}
