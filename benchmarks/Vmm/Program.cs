// The part of vmm.sh that boots guests: by the library, by a sandboxer, and by hand, in turns; and the pods whose sandboxer's memory is read.
using System.CommandLine;
using Kuasar.Vmm;
using Vmm;

var image = new Option<string>("--guest") { Description = "The folder of eng/guest-image.sh", Required = true };
var prefix = new Option<string>("--prefix") { Description = "The folder of eng/vmm.sh", Required = true };
var hand = new Option<string>("--hand") { Description = "benchmarks/vmm.c, compiled", Required = true };
var runDirectory = new Option<string>("--run-dir") { Description = "Of the sandboxer", Required = true };
var rounds = new Option<int>("--rounds") { Description = "How many", DefaultValueFactory = _ => 15 };
var count = new Option<int>("--count") { Description = "How many", DefaultValueFactory = _ => 1 };

var plain = new Option<string>("--plain") { Description = "benchmarks/vsock.c, compiled", Required = true };
var dotnet = new Option<string>("--dotnet") { Description = "benchmarks/Vsock, published", Required = true };
var calls = new Option<int>("--calls") { Description = "Echoes in each turn", DefaultValueFactory = _ => 1500 };

var boots = new Command("boots", "Boots a guest in each way in each round, in random order. Prints a table.") { image, prefix, hand, runDirectory, rounds };
boots.SetAction(async (arguments, cancellationToken) =>
{
    await using var sandboxer = await SandboxerPods.ConnectAsync(arguments.GetRequiredValue(runDirectory));
    await WithLibraryAsync(arguments, (library, folder) =>
        Rounds.RunAsync(library, sandboxer, new HandBoot(arguments.GetRequiredValue(hand), folder), arguments.GetValue(rounds), cancellationToken));
});
var echo = new Command("echo", "Times echoes between a guest and this host, the clients taking turns. Prints a table.") { image, prefix, plain, dotnet, rounds, calls };
echo.SetAction((arguments, cancellationToken) => WithLibraryAsync(arguments, (library, _) => new Echo(
    library, arguments.GetRequiredValue(plain), arguments.GetRequiredValue(dotnet), arguments.GetValue(rounds), arguments.GetValue(calls)).RunAsync(cancellationToken)));
var add = new Command("add", "Makes pods and leaves them running.") { runDirectory, count };
add.SetAction(async (arguments, cancellationToken) =>
{
    await using var sandboxer = await SandboxerPods.ConnectAsync(arguments.GetRequiredValue(runDirectory));
    for (var i = 0; i < arguments.GetValue(count); i++)
    {
        await sandboxer.StartAsync(cancellationToken);
        Console.WriteLine(sandboxer.Last);
    }
});
var ids = new Argument<string[]>("ids") { Description = "As add prints them" };
var remove = new Command("remove", "Removes pods.") { runDirectory, ids };
remove.SetAction(async (arguments, cancellationToken) =>
{
    await using var sandboxer = await SandboxerPods.ConnectAsync(arguments.GetRequiredValue(runDirectory));
    foreach (var id in arguments.GetRequiredValue(ids))
    {
        await sandboxer.RemoveAsync(id, cancellationToken);
    }
});
return await new RootCommand("Guests of QEMU's.") { boots, echo, add, remove }.Parse(args).InvokeAsync();

async Task WithLibraryAsync(ParseResult arguments, Func<LibraryBoot, string, Task> run)
{
    var folder = Directory.CreateTempSubdirectory("kvb-").FullName;
    try
    {
        var options = QemuOptions.FromPrefix(arguments.GetRequiredValue(prefix)) with { Accelerator = QemuAccelerator.Tcg };
        await run(new LibraryBoot(new QemuHypervisor(options), arguments.GetRequiredValue(image), folder), folder);
    }
    finally
    {
        Directory.Delete(folder, recursive: true);
    }
}
