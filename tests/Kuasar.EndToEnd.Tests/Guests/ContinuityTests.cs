using System.Globalization;
using System.Text;
using Grpc.Core;
using Kuasar.EndToEnd.Tests.Pods;
using Kuasar.Testing.Cri;

namespace Kuasar.EndToEnd.Tests.Guests;

/// <summary>Guests go on, whatever becomes of what looks after them.</summary>
[Collection(GuestTests.Name)]
public sealed class GuestContinuityTests(TestRun run, GuestNode own) : NodeTest(run, own)
{
    private const string Script = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; usleep 10000; done";

    [Fact]
    public async Task Pods_are_not_harmed_when_the_sandboxer_is_killed_or_replaced()
    {
        Pod[] pods = await Task.WhenAll(Pod.RunAsync(Node, "goes-on-a", GuestNode.ByShim), Pod.RunAsync(Node, "goes-on-b", GuestNode.ByProxy));
        await using var one = pods[0];
        await using var other = pods[1];
        await Task.WhenAll(pods.Select(pod => pod.StartContainerAsync(null, "sh", "-c", Script)));
        var machines = pods.Select(own.MachineOf).ToList();

        for (var i = 0; i < 3; i++)
        {
            await own.KillSandboxerAsync();
            await Within.UntilAsync(AnswersAsync, what: "the next one answers");
            await UnharmedAsync();
        }
        var copy = Node.Program + ".next";
        File.Copy(Node.Program, copy, overwrite: true);
        foreach (var next in (string[])[copy, Node.Program])
        {
            var (code, output) = await UpgradeAsync(next);
            Assert.True(code == 0, output);
            Assert.Equal(next, Proc.Program(Node.Sandboxer!.KeptProcessId));
            await UnharmedAsync();
        }

        await Node.Bed.StopAsync("KILL");
        await Node.Sandboxer!.KillAsync();
        await Node.StartSandboxerAsync();
        await Node.Bed.StartAsync();
        await Node.ReopenEventsAsync();
        // What containerd had read, and what was in a fifo that nobody held any more, has gone with them.
        await UnharmedAsync(isLogWhole: false);

        await Task.WhenAll(pods.Select(pod => pod.StopContainerAsync(10)));
        foreach (var pod in pods)
        {
            Assert.Equal(7, (await pod.UntilExitedAsync()).ExitCode);
        }

        // A controller that is asked by gRPC answers Unavailable while there is none; kubelets ask again.
        async Task<bool> AnswersAsync()
        {
            try
            {
                await Task.WhenAll(pods.Select(pod => pod.StateAsync()));
                return true;
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable)
            {
                return false;
            }
        }

        async Task UnharmedAsync(bool isLogWhole = true)
        {
            for (var i = 0; i < pods.Length; i++)
            {
                Assert.Equal(PodSandboxState.SandboxReady, await pods[i].StateAsync());
                Assert.Equal(("fine\n", 5), await pods[i].ExecAsync("sh", "-c", "echo fine; exit 5"));
                Assert.Equal(machines[i], own.MachineOf(pods[i]));
                var lines = (await pods[i].LogAsync()).Split('\n');
                await Within.UntilAsync(async () => (await pods[i].LogAsync()).Split('\n').Length > lines.Length, what: "the log goes on");
                var numbers = lines.Select(line => int.Parse(line.Split(' ')[^1], CultureInfo.InvariantCulture)).ToList();
                Assert.True(!isLogWhole || Enumerable.Range(1, numbers.Count).SequenceEqual(numbers), $"pod {i}: {string.Join(' ', numbers)}");
            }
        }
    }

    /// <summary>Through the guest and back, while it is not seen to.</summary>
    [Fact]
    public async Task Input_and_output_are_whole_when_the_sandboxer_is_killed_or_replaced()
    {
        var container = await StartAsync(new ContainerPlan { Stdin = true }, "cat");
        var text = string.Concat(Enumerable.Range(1, 1_200_000).Select(i => $"{i}\n"));
        var writing = WriteAsync();
        for (var i = 0; i < 3; i++)
        {
            await Task.Delay(300);
            await own.KillSandboxerAsync();
            Assert.Equal(ProcessStatus.Running, (await container.Init.StateAsync()).Status);
        }
        // It answers calls before it has all of its routes, and is not to be replaced until then.
        await Within.UntilAsync(async () => (await UpgradeAsync(Node.Program)).Code == 0, what: "the upgrade");
        await writing;
        await container.Init.CloseStdinAsync();
        Assert.Equal(0u, (await container.Init.WaitAsync()).ExitStatus);
        Assert.Equal(text, await container.Init.Output.ToEndAsync());

        async Task WriteAsync()
        {
            await using var input = await container.Init.OpenStdinAsync();
            await input.WriteAsync(Encoding.ASCII.GetBytes(text)).AsTask().BoundAsync();
        }
    }

    private Task<(int Code, string Output)> UpgradeAsync(string binary) =>
        Commands.TryAsync(Node.Program, ["upgrade", "--run-dir", Node.RunDirectory, "--binary", binary], null, TimeSpan.FromSeconds(60));
}
