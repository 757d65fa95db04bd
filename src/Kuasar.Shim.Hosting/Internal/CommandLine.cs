using Kuasar.Linux;

namespace Kuasar.Shim.Hosting.Internal;

internal enum ShimAction
{
    Start,
    Delete,
    Info,
    Version,
    Help,
}

/// <summary>
/// What containerd calls a shim with:
/// <c>-namespace NS -address SOCKET -publish-binary CONTAINERD -id ID [-bundle DIR] [-debug] start|delete</c>, or <c>-info</c> alone.
/// </summary>
internal sealed class CommandLine
{
    internal const string Usage =
        "usage: [-debug] -namespace NS -address SOCKET [-publish-binary FILE] -id ID [-bundle DIR] start|delete, or -info, or -v\n";

    internal ShimAction Action { get; private set; }

    internal string Namespace { get; private set; } = "";

    internal string Id { get; private set; } = "";

    internal string Address { get; private set; } = "";

    internal string PublishBinary { get; private set; } = "";

    internal string Bundle { get; private set; } = "";

    internal bool Debug { get; private set; }

    /// <summary>
    /// Go's flag syntax: "-flag, --flag, -flag=x, -flag x (non-boolean flags only). Flag parsing stops just before the first
    /// non-flag argument ("-" is a non-flag argument) or after the terminator "--"."
    /// </summary>
    /// <exception cref="UsageException">It cannot be understood.</exception>
    internal static CommandLine Parse(ReadOnlySpan<string> args)
    {
        var command = new CommandLine();
        ShimAction? asked = null;
        var i = 0;
        for (; i < args.Length; i++)
        {
            var word = args[i];
            if (word.Length < 2 || word[0] != '-')
            {
                break;
            }
            if (word == "--")
            {
                i++;
                break;
            }
            var name = word[(word[1] == '-' ? 2 : 1)..];
            string? value = null;
            if (name.IndexOf('=', StringComparison.Ordinal) is var equals and >= 0)
            {
                value = name[(equals + 1)..];
                name = name[..equals];
            }
            switch (name)
            {
                case "debug":
                    command.Debug = Boolean(name, value);
                    break;
                case "v" or "version":
                    asked = Boolean(name, value) ? ShimAction.Version : asked;
                    break;
                case "info":
                    asked = Boolean(name, value) ? asked ?? ShimAction.Info : asked;
                    break;
                case "h" or "help":
                    command.Action = ShimAction.Help;
                    return command;
                case "namespace":
                    command.Namespace = Text(args, ref i, name, value);
                    break;
                case "id":
                    command.Id = Text(args, ref i, name, value);
                    break;
                case "address":
                    command.Address = Text(args, ref i, name, value);
                    break;
                case "publish-binary":
                    command.PublishBinary = Text(args, ref i, name, value);
                    break;
                case "bundle":
                    command.Bundle = Text(args, ref i, name, value);
                    break;
                // A shim that serves by itself hands its sockets to its child with these; ours has no child.
                case "socket" or "debug-socket":
                    Text(args, ref i, name, value);
                    break;
                default:
                    throw new UsageException($"flag provided but not defined: -{name}; {Usage.TrimEnd()}");
            }
        }
        command.Action = asked ?? ActionOf(i < args.Length ? args[i] : null);
        if (command.Action is ShimAction.Start or ShimAction.Delete)
        {
            RequireId("namespace", command.Namespace);
            RequireId("id", command.Id);
        }
        return command;
    }

    private static ShimAction ActionOf(string? word) => word switch
    {
        "start" => ShimAction.Start,
        "delete" => ShimAction.Delete,
        null => throw new UsageException($"no action; {Usage.TrimEnd()}"),
        _ => throw new UsageException($"unknown action \"{StandardStreams.Printable(word)}\"; {Usage.TrimEnd()}"),
    };

    private static void RequireId(string flag, string value)
    {
        if (value.Length == 0)
        {
            throw new UsageException($"flag -{flag} is missing");
        }
        if (!ContainerdId.IsValid(value))
        {
            throw new UsageException($"flag -{flag}: \"{StandardStreams.Printable(value)}\" is not an identifier (1 to 76 letters and digits, with single . _ - between them)");
        }
    }

    private static string Text(ReadOnlySpan<string> args, ref int i, string name, string? value) =>
        value ?? (++i < args.Length ? args[i] : throw new UsageException($"flag needs an argument: -{name}"));

    // What Go's strconv.ParseBool takes.
    private static bool Boolean(string name, string? value) => value switch
    {
        null or "1" or "t" or "T" or "true" or "TRUE" or "True" => true,
        "0" or "f" or "F" or "false" or "FALSE" or "False" => false,
        _ => throw new UsageException($"invalid boolean value \"{StandardStreams.Printable(value)}\" for -{name}"),
    };
}
