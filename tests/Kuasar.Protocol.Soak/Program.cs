using System.Globalization;
using Kuasar.Protocol.Soak;

// usage: Kuasar.Protocol.Soak soak [--seconds 600] [--callers 64] [--pause 4] [--seed N] [--go PEER]
//        Kuasar.Protocol.Soak isolation [--seconds 2] [--rounds 5]
//        Kuasar.Protocol.Soak serve SOCKET | bad KIND SOCKET       (what isolation starts)
return args switch
{
    ["soak", ..] => await SoakAsync(),
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

static int Usage()
{
    Console.Error.WriteLine("usage: Kuasar.Protocol.Soak soak [--seconds N] [--callers N] [--pause MS] [--seed N] [--go PEER]");
    return 2;
}
