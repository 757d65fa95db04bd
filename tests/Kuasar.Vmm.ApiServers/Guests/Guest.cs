using System.Text;
using System.Text.Json.Nodes;

namespace Kuasar.Vmm.ApiServers.Guests;

/// <summary>How a guest ended by its own will.</summary>
internal enum GuestEnd
{
    PowerOff,
    Reset,
    Panic,
}

/// <summary>
/// What a guest shows to the host: a console, a call home to port 1026 when it has booted, an echo on vsock port 7, and on port 512 commands
/// that make it do what guests do. A line each: <c>poweroff</c>, <c>reset</c>, <c>panic</c>, <c>abort</c> (the VMM crashes), <c>hang</c> (the API
/// answers no more), <c>deaf</c> (power buttons are ignored), <c>set X</c> and <c>get</c> (its memory), <c>cpus</c>, <c>memory</c>,
/// <c>devices</c>, <c>dial PORT</c> (what the host sends there).
/// </summary>
internal sealed class Guest(string? console, GuestHost host) : IDisposable
{
    internal const int EchoPort = 7, CommandPort = 512, ReadyPort = 1026;

    private HybridVsock? _vsock;

    internal Gate Gate { get; } = new();

    /// <summary>Its memory, as far as it matters: what a snapshot keeps.</summary>
    internal string Memory { get; set; } = "";

    internal int Cpus { get; set; }

    internal long MemoryBytes { get; set; }

    internal List<string> Devices { get; } = [];

    /// <summary>It has no handler for power buttons and Ctrl+Alt+Del.</summary>
    internal bool Deaf { get; private set; }

    /// <summary>Boots, or goes on where a snapshot was taken.</summary>
    internal void Start(string? socket, bool restored)
    {
        if (socket is not null)
        {
            _vsock = new HybridVsock(socket, Gate, Listener);
        }
        if (!restored)
        {
            Print("Linux version 6.1.0 (no guest: Kuasar.Vmm.ApiServers)\n");
            _ = CallHomeAsync();
        }
    }

    /// <summary>Three keys that a guest answers with a reboot, when it has a keyboard driver.</summary>
    internal void CtrlAltDel()
    {
        if (!Deaf)
        {
            host.Ended(GuestEnd.Reset);
        }
    }

    internal void ResetDevices() => _vsock?.Reset();

    public void Dispose()
    {
        _vsock?.Dispose();
        _vsock = null;
    }

    private void Print(string text)
    {
        if (console is not null)
        {
            File.AppendAllText(console, text);
        }
    }

    private async Task CallHomeAsync()
    {
        try
        {
            using var home = _vsock is null ? null : await _vsock.DialAsync(ReadyPort);
            Print("called home\n");
        }
        catch (Exception e) when (e is System.Net.Sockets.SocketException or IOException)
        {
            Print("nobody at home\n");
        }
    }

    private Func<Stream, Task>? Listener(int port) => port switch
    {
        EchoPort => EchoAsync,
        CommandPort => CommandsAsync,
        _ => null,
    };

    private async Task EchoAsync(Stream stream)
    {
        var buffer = new byte[32768];
        int n;
        while ((n = await stream.ReadAsync(buffer)) > 0)
        {
            await Gate.PassAsync();
            await stream.WriteAsync(buffer.AsMemory(0, n));
        }
    }

    private async Task CommandsAsync(Stream stream)
    {
        using var reader = new StreamReader(stream, Encoding.UTF8);
        while (await reader.ReadLineAsync() is { } line)
        {
            await Gate.PassAsync();
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            var (verb, argument) = space < 0 ? (line, "") : (line[..space], line[(space + 1)..]);
            var answer = await AnswerAsync(verb, argument);
            await stream.WriteAsync(Encoding.UTF8.GetBytes(answer + "\n"));
            Act(verb);
        }
    }

    private async Task<string> AnswerAsync(string verb, string argument)
    {
        switch (verb)
        {
            case "set":
                Memory = argument;
                break;
            case "get":
                return Memory;
            case "cpus":
                return $"{Cpus}";
            case "memory":
                return $"{MemoryBytes}";
            case "devices":
                return string.Join(' ', Devices);
            case "deaf":
                Deaf = true;
                break;
            case "hang":
                // Before the answer: who has it asks the API next.
                host.Hang();
                break;
            case "dial":
                using (var home = await _vsock!.DialAsync(int.Parse(argument, System.Globalization.CultureInfo.InvariantCulture)))
                using (var text = new StreamReader(home))
                {
                    return await text.ReadLineAsync() ?? "";
                }
        }
        return "ok";
    }

    private void Act(string verb)
    {
        switch (verb)
        {
            case "poweroff":
                host.Ended(GuestEnd.PowerOff);
                break;
            case "reset":
                host.Ended(GuestEnd.Reset);
                break;
            case "panic":
                Print("Kernel panic - not syncing\n");
                host.Ended(GuestEnd.Panic);
                break;
            case "abort":
                Environment.Exit(134);
                break;
        }
    }

    /// <summary>What a snapshot keeps of it.</summary>
    internal JsonObject Save() => new() { ["memory"] = Memory, ["cpus"] = Cpus, ["bytes"] = MemoryBytes };

    internal void Load(JsonObject saved)
    {
        Memory = saved["memory"]!.GetValue<string>();
        Cpus = saved["cpus"]!.GetValue<int>();
        MemoryBytes = saved["bytes"]!.GetValue<long>();
    }
}

/// <summary>What a guest does to its VMM.</summary>
internal sealed record GuestHost(Action<GuestEnd> Ended, Action Hang);
