// The part of side-by-side.sh that speaks CRI: makes and removes pods, and times what a kubelet waits for. For keeper.sh: times a task call.
using System.CommandLine;
using Grpc.Core;
using Kuasar.Testing;
using SideBySide;

var address = new Option<string>("--address") { Description = "containerd's socket", Required = true };
var runtime = new Option<string>("--runtime") { Description = "The runtime as containerd's configuration names it", Required = true };
var count = new Option<int>("--count") { Description = "How many", DefaultValueFactory = _ => 1 };
var runtimes = new Option<string[]>("--runtimes") { Description = "The runtimes to compare", Required = true, AllowMultipleArgumentsPerToken = true };
var hostNetwork = new Option<bool>("--host-network") { Description = "Pods in the host's network, without CNI; not for runtimes with sandboxer = 'shim'" };

var add = new Command("add", "Makes pods without containers and leaves them running.") { address, runtime, count, hostNetwork };
add.SetAction((arguments, _) => RunAsync(arguments, pods => pods.AddAsync(arguments.GetRequiredValue(runtime), arguments.GetRequiredValue(count))));
var remove = new Command("remove", "Removes all pods of this program.") { address };
remove.SetAction((arguments, _) => RunAsync(arguments, pods => pods.RemoveAllAsync()));
var time = new Command("time", "Times calls, the runtimes taking turns. Prints lines of RUNTIME CALL MICROSECONDS.") { address, runtimes, count, hostNetwork };
time.SetAction((arguments, _) => RunAsync(arguments, pods => pods.TimeAsync(arguments.GetRequiredValue(runtimes), arguments.GetRequiredValue(count))));
var folders = new Option<string[]>("--run-dirs") { Description = "Of the sandboxers to compare", Required = true, AllowMultipleArgumentsPerToken = true };
var calls = new Command("calls", "Times the Connect of a task, the sandboxers taking turns. Prints a line for each.") { folders, count };
calls.SetAction((arguments, _) => TaskCalls.TimeAsync(arguments.GetRequiredValue(folders), arguments.GetRequiredValue(count)));
return await new RootCommand("Pods of several runtimes side by side, over CRI.") { add, remove, time, calls }.Parse(args).InvokeAsync();

async Task<int> RunAsync(ParseResult arguments, Func<Pods, Task> run)
{
    using var channel = ContainerdChannel.ForSocket(arguments.GetRequiredValue(address));
    try
    {
        await run(new Pods(channel.Invoker, arguments.GetValue(hostNetwork)));
        return 0;
    }
    catch (RpcException e)
    {
        await Console.Error.WriteLineAsync($"SideBySide: {e.StatusCode}: {e.Status.Detail.ReplaceLineEndings(" ")}");
        return 1;
    }
}
