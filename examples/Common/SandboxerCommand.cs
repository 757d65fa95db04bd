using System.CommandLine;
using Kuasar.Sandbox;
using Kuasar.Sandbox.Grpc;
using Microsoft.Extensions.Logging;

/// <summary>The command line that resident sandboxers have in common: where they serve, the keeper, upgrade and status.</summary>
internal sealed class SandboxerCommand
{
    private static readonly Dictionary<string, LogLevel> s_logLevels = new()
    {
        ["trace"] = LogLevel.Trace, ["debug"] = LogLevel.Debug, ["info"] = LogLevel.Information, ["warn"] = LogLevel.Warning, ["error"] = LogLevel.Error,
    };

    private readonly string _name;
    private readonly Option<string> _runDirectory;
    private readonly Option<string?> _proxy = new("--proxy") { Description = "Also serves a proxy plugin of containerd (type = \"sandbox\") on this socket" };
    private readonly Option<string> _containerd = new("--containerd")
    {
        Description = "The gRPC socket of the containerd that has the proxy plugin",
        DefaultValueFactory = _ => "/run/containerd/containerd.sock",
    };

    private readonly Option<string> _logLevel = new("--log-level")
    {
        Description = "The least level that is logged to standard error",
        DefaultValueFactory = _ => "info",
    };

    private readonly Option<bool> _noKeeper = new("--no-keeper") { Description = "One process alone: when it ends, containerd takes every container for dead" };
    private readonly RootCommand _command;

    /// <param name="name">The domain's.</param>
    /// <param name="description">What the program is for.</param>
    /// <param name="options">What else it is told.</param>
    /// <param name="create">Makes the sandboxer.</param>
    internal SandboxerCommand(string name, string description, IEnumerable<Option> options, Func<ParseResult, Sandboxer> create)
    {
        _name = name;
        _runDirectory = new Option<string>("--run-dir")
        {
            Description = "Where all sockets and state live; for the shim it is run-dir= in a file beside it, named like it with .conf",
            DefaultValueFactory = _ => "/run/kuasar/" + name,
        };
        _logLevel.AcceptOnlyFromAmong([.. s_logLevels.Keys]);
        _command = new RootCommand(description) { _runDirectory, _proxy, _containerd, _logLevel, _noKeeper };
        foreach (var option in options)
        {
            _command.Add(option);
        }
        _command.SetAction((arguments, cancellationToken) => ServeAsync(arguments, create, cancellationToken));
        AddUpgrade();
        var status = new Command("status", "Says what the keeper holds.") { _runDirectory };
        status.SetAction(arguments => Tell(() => KeeperClient.Status(RunDirectory(arguments))));
        _command.Add(status);
    }

    internal Task<int> RunAsync(string[] arguments) => _command.Parse(arguments).InvokeAsync();

    private string RunDirectory(ParseResult arguments) => Path.GetFullPath(arguments.GetRequiredValue(_runDirectory));

    private async Task<int> ServeAsync(ParseResult arguments, Func<ParseResult, Sandboxer> create, CancellationToken cancellationToken)
    {
        var options = new SandboxerOptions
        {
            Name = _name,
            RunDirectory = RunDirectory(arguments),
            LogLevel = s_logLevels[arguments.GetRequiredValue(_logLevel)],
            Keeper = !arguments.GetValue(_noKeeper),
        };
        if (arguments.GetValue(_proxy) is { } socket)
        {
            options.Routes.Add(new ProxyRoute(Path.GetFullPath(socket)) { ContainerdAddress = arguments.GetRequiredValue(_containerd) });
        }
        try
        {
            return await SandboxerHost.RunProgramAsync(() => create(arguments), options, cancellationToken);
        }
        catch (Exception e) when (e is SandboxException or ArgumentException or IOException)
        {
            return Fail(e);
        }
    }

    private void AddUpgrade()
    {
        var binary = new Option<string?>("--binary") { Description = "The new executable; default: the file that is now where the running one was started from" };
        var deadline = new Option<int>("--deadline")
        {
            Description = "Seconds that the new sandboxer has until it serves; the old one goes on if it does not",
            DefaultValueFactory = _ => 30,
        };
        var upgrade = new Command("upgrade", "Puts another binary in the place of the running sandboxer and its keeper; containerd notices nothing.")
        {
            _runDirectory, binary, deadline,
        };
        upgrade.SetAction(arguments => Tell(() => KeeperClient.Upgrade(
            RunDirectory(arguments),
            arguments.GetValue(binary) is { } path ? Path.GetFullPath(path) : null,
            TimeSpan.FromSeconds(arguments.GetRequiredValue(deadline)))));
        _command.Add(upgrade);
    }

    private int Tell(Func<string> ask)
    {
        try
        {
            Console.WriteLine(ask());
            return 0;
        }
        catch (Exception e) when (e is SandboxException or ArgumentException or IOException)
        {
            return Fail(e);
        }
    }

    private int Fail(Exception e)
    {
        Console.Error.WriteLine($"kuasar-{_name}-sandboxer: {e.Message}");
        return 1;
    }
}
