// Makes a pod over CRI as the kubelet does, checks that everything in it works, and removes it.
using System.CommandLine;
using CriDemo;
using Grpc.Core;
using Kuasar.Testing;

var address = new Option<string>("--address") { Description = "containerd's socket", DefaultValueFactory = _ => "/run/containerd/containerd.sock" };
var runtime = new Option<string>("--runtime") { Description = "The runtime as containerd's configuration names it", DefaultValueFactory = _ => "kuasar-runc" };
var image = new Option<string>("--image") { Description = "An image with busybox, present already", DefaultValueFactory = _ => "localhost/busybox:1" };
var logs = new Option<string>("--log-dir")
{
    Description = "Where containerd writes the containers' logs",
    DefaultValueFactory = _ => Path.Combine(Path.GetTempPath(), "kuasar-demo-cri"),
};

var up = new Command("up", "Makes the pod, checks it and leaves it running.") { address, runtime, image, logs };
up.SetAction((arguments, _) => RunAsync(arguments, demo =>
    demo.UpAsync(arguments.GetRequiredValue(runtime), arguments.GetRequiredValue(image), Path.GetFullPath(arguments.GetRequiredValue(logs)))));
var down = new Command("down", "Stops and removes the pod and its logs.") { address, logs };
down.SetAction((arguments, _) => RunAsync(arguments, demo => demo.DownAsync(Path.GetFullPath(arguments.GetRequiredValue(logs)))));
return await new RootCommand("Drives one pod over containerd's CRI.") { up, down }.Parse(args).InvokeAsync();

async Task<int> RunAsync(ParseResult arguments, Func<PodDemo, Task> run)
{
    var socket = arguments.GetRequiredValue(address);
    using var channel = ContainerdChannel.ForSocket(socket);
    try
    {
        if (!File.Exists(socket))
        {
            throw new DemoException($"no containerd at {socket}");
        }
        await run(new PodDemo(channel.Invoker));
        return 0;
    }
    catch (Exception e) when (e is RpcException or DemoException or IOException or UnauthorizedAccessException)
    {
        var text = e is RpcException rpc ? $"{rpc.StatusCode}: {rpc.Status.Detail}" : e.Message;
        await Console.Error.WriteLineAsync($"kuasar-demo-cri: {text.ReplaceLineEndings(" ")}");
        return 1;
    }
}
