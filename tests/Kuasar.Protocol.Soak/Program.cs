using System.Globalization;
using Kuasar.Protocol.Soak;

// usage: Kuasar.Protocol.Soak soak [--seconds 600] [--callers 64] [--pause 4] [--seed N] [--go PEER]
//        Kuasar.Protocol.Soak isolation [--seconds 2] [--rounds 5]
//        Kuasar.Protocol.Soak serve SOCKET | bad KIND SOCKET       (what isolation starts)
return args switch
{
    ["soak", ..] => await SoakAsync(),
    ["isolation", ..] => await new IsolationRun(Number("--seconds", 2), Number("--rounds", 5)).RunAsync(),
    ["serve", var socket] => await ServeAsync(socket),
    ["bad", var kind, var socket] => await MisbehaveAsync(kind, socket),
    _ => Usage(),
};

int Number(string name, int otherwise) => Text(name) is { } text ? int.Parse(text, CultureInfo.InvariantCulture) : otherwise;

string? Text(string name) => Array.IndexOf(args, name) is var i and > 0 && i + 1 < args.Length ? args[i + 1] : null;

async Task<int> SoakAsync()
{
    using var soak = new SoakRun(new SoakOptions(
        Number("--seconds", 600), Number("--callers", 64), Number("--pause", 4), Text("--go"), Number("--seed", Environment.TickCount)));
    return await soak.RunAsync();
}

static async Task<int> ServeAsync(string socket)
{
    await using var server = new OurServer(socket);
    return await UntilKilledAsync();
}

static async Task<int> MisbehaveAsync(string kind, string socket)
{
    using var bad = new BadPeer(kind, socket);
    return await UntilKilledAsync();
}

// By the process that has started us; and without it we are not needed.
static async Task<int> UntilKilledAsync()
{
    Console.WriteLine("ready");
    await Console.In.ReadToEndAsync();
    return 0;
}

static int Usage()
{
    Console.Error.WriteLine(
        "usage: Kuasar.Protocol.Soak soak [--seconds N] [--callers N] [--pause MS] [--seed N] [--go PEER]\n"
        + "       Kuasar.Protocol.Soak isolation [--seconds N] [--rounds N]");
    return 2;
}
