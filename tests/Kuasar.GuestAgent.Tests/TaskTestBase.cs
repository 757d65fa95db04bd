using System.Text;
using Grpc.Core;
using Kuasar.GuestAgent.Tests.Beds;
using Kuasar.Protocol.Contracts.TaskV3;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.GuestAgent.Tests;

/// <summary>What the host does with containers: the same of an agent on this host and of one in a guest.</summary>
public abstract class TaskTestBase(AgentBed bed)
{
    [Fact]
    public async Task Container_that_ends_gives_its_code_and_all_of_its_output()
    {
        using var agent = await bed.OpenAsync();
        var (code, output, error) = await agent.RunAsync(bed.NewId("run"), "sh", "-c", "echo out; echo err >&2; exit 42");
        Assert.Equal((42u, "out\n", "err\n"), (code, output, error));
    }

    [Fact]
    public async Task Streams_may_be_opened_before_their_process_is_made()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("early");
        using var output = await agent.OpenStreamAsync(id + "-stdout");
        Bundle.Write(Path.Combine(bed.Share, id), ["echo", "hello"]);
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        Assert.Equal("hello\n", Encoding.UTF8.GetString(await output.ReadToEndAsync()));
        Assert.Equal(0u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Input_reaches_the_process_and_its_end_is_the_clients_end()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("cat");
        Bundle.Write(Path.Combine(bed.Share, id), ["cat"]);
        await agent.CreateAsync(id, stdin: true);
        using var input = await agent.OpenStreamAsync(id + "-stdin");
        Assert.Equal(32 * 1024, await input.ReadGrantAsync());
        using var output = await agent.OpenStreamAsync(id + "-stdout");
        await agent.StartAsync(id);
        await input.WriteAsync("one\n"u8);
        Assert.Equal(4, await input.ReadGrantAsync());
        Assert.Equal("one\n", Encoding.UTF8.GetString((await output.ReadAsync())!));
        await input.CloseAsync();
        Assert.Null(await output.ReadAsync());
        Assert.Equal(0u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task CloseIO_without_a_client_ends_the_input()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("close");
        Bundle.Write(Path.Combine(bed.Share, id), ["cat"]);
        await agent.CreateAsync(id, stdin: true);
        await agent.StartAsync(id);
        await agent.Tasks.CloseIOAsync(new CloseIORequest { Id = id, Stdin = true }, AgentClient.Soon);
        Assert.Equal(0u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Ten_megabytes_come_whole_in_small_messages_however_slow_the_client_is()
    {
        const int Size = 10 << 20;
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("large");
        Bundle.Write(Path.Combine(bed.Share, id), ["dd", "if=/dev/zero", "bs=65536", $"count={Size / 65536}"]);
        await agent.CreateAsync(id);
        using var output = await agent.OpenStreamAsync(id + "-stdout", grants: true);
        await agent.StartAsync(id);
        await Task.Delay(300);
        Assert.Equal(Size, (await output.ReadToEndAsync()).Length);
        Assert.InRange(output.Largest, 1, 32 * 1024);
        Assert.Equal(0u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Terminals_output_comes_whole_however_slow_the_client_is()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("long");
        Bundle.Write(Path.Combine(bed.Share, id), ["sh", "-c", "i=0; while [ $i -lt 15000 ]; do i=$((i + 1)); echo $i; done"], terminal: true);
        await agent.CreateAsync(id, terminal: true);
        using var output = await agent.OpenStreamAsync(id + "-stdout", grants: true);
        await agent.StartAsync(id);
        await Task.Delay(300);
        // The terminal ends lines with both.
        Assert.Equal(string.Concat(Enumerable.Range(1, 15000).Select(i => $"{i}\r\n")), Encoding.UTF8.GetString(await output.ReadToEndAsync()));
        Assert.Equal(0u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Client_that_grants_a_window_gets_no_more_than_that()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("window");
        Bundle.Write(Path.Combine(bed.Share, id), ["sh", "-c", "echo 1234567890; sleep 30"]);
        await agent.CreateAsync(id);
        using var output = await agent.OpenStreamAsync(id + "-stdout");
        await output.GrantAsync(4);
        // The grant and the start go by one connection, in this order.
        await agent.Tasks.ConnectAsync(new ConnectRequest { Id = id }, AgentClient.Soon);
        await agent.StartAsync(id);
        Assert.Equal("1234", Encoding.UTF8.GetString((await output.ReadAsync())!));
        var next = output.ReadAsync();
        Assert.NotSame(next, await Task.WhenAny(next, Task.Delay(200)));
        await output.GrantAsync(100);
        Assert.Equal("567890\n", Encoding.UTF8.GetString((await next)!));
        await agent.KillAsync(id);
        Assert.Equal(137u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task What_a_client_has_not_acknowledged_is_sent_to_the_next()
    {
        var id = bed.NewId("untaken");
        using (var first = await bed.OpenAsync())
        {
            Bundle.Write(Path.Combine(bed.Share, id), ["sh", "-c", "echo 1234567890; exec sleep 30"]);
            await first.CreateAsync(id);
            using var output = await first.OpenStreamAsync(id + "-stdout");
            await output.GrantAsync(100);
            await first.StartAsync(id);
            Assert.Equal("1234567890\n", await output.ReadUntilAsync("1234567890\n"));
            await output.GrantAsync(4);
            await first.Tasks.ConnectAsync(new ConnectRequest { Id = id }, AgentClient.Soon);
        }
        using var agent = await bed.OpenAsync();
        using (var output = await agent.OpenStreamAsync(id + "-stdout"))
        {
            Assert.Equal("567890\n", await output.ReadUntilAsync("567890\n"));
        }
        await agent.KillAsync(id);
        Assert.Equal(137u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Client_that_says_its_position_is_sent_what_follows_and_nothing_before_it_grants_a_window()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("position");
        Bundle.Write(Path.Combine(bed.Share, id), ["sh", "-c", "echo 1234567890; exec sleep 30"]);
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        foreach (var (position, expected) in ((int, string)[])[(0, "1234567890\n"), (8, "90\n")])
        {
            using var output = await agent.OpenStreamAsync(id + "-stdout", position: position);
            var next = output.ReadAsync();
            Assert.NotSame(next, await Task.WhenAny(next, Task.Delay(200)));
            await output.GrantAsync(100);
            Assert.Equal(expected, Encoding.UTF8.GetString((await next)!));
        }
        await agent.KillAsync(id);
        Assert.Equal(137u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Output_is_whole_over_many_clients_that_are_cut_off()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("cut");
        Bundle.Write(Path.Combine(bed.Share, id), ["busybox", "seq", "1", "200000"]);
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        var expected = string.Concat(Enumerable.Range(1, 200_000).Select(i => $"{i}\n"));
        using var all = new MemoryStream();
        var buffer = new byte[20_000];
        while (all.Length < expected.Length)
        {
            await using var output = await agent.Host.OpenOutputAsync(id + "-stdout", all.Length);
            for (var reads = 0; reads < 7 && await output.ReadAsync(buffer) is > 0 and var count; reads++)
            {
                all.Write(buffer, 0, count);
            }
        }
        Assert.Equal(expected, Encoding.UTF8.GetString(all.ToArray()));
        Assert.Equal(0u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Host_that_is_gone_finds_process_input_and_output_as_they_were()
    {
        var id = bed.NewId("host");
        using (var first = await bed.OpenAsync())
        {
            Bundle.Write(Path.Combine(bed.Share, id), ["cat"]);
            await first.CreateAsync(id, stdin: true);
            await first.StartAsync(id);
            using var input = await first.OpenStreamAsync(id + "-stdin", position: 0);
            Assert.Equal(0ul, await input.ReadPositionAsync());
            await input.ReadGrantAsync();
            await input.WriteAsync("kept\n"u8);
            await input.ReadGrantAsync();
        }
        using var agent = await bed.OpenAsync();
        using var output = await agent.OpenStreamAsync(id + "-stdout");
        Assert.Equal("kept\n", await output.ReadUntilAsync("kept\n"));
        using (var input = await agent.OpenStreamAsync(id + "-stdin", position: 0))
        {
            Assert.Equal(5ul, await input.ReadPositionAsync());
            await input.WriteAsync("more\n"u8);
            Assert.Equal("more\n", await output.ReadUntilAsync("more\n"));
            await input.CloseAsync();
            Assert.Equal(0u, await agent.WaitAsync(id));
        }
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Second_reader_takes_the_place_of_the_first()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("second");
        Bundle.Write(Path.Combine(bed.Share, id), ["cat"]);
        await agent.CreateAsync(id, stdin: true);
        await agent.StartAsync(id);
        using var first = await agent.OpenStreamAsync(id + "-stdout");
        var firstRead = first.ReadAsync();
        using var second = await agent.OpenStreamAsync(id + "-stdout");
        await Assert.ThrowsAsync<RpcException>(() => firstRead);
        using var input = await agent.OpenStreamAsync(id + "-stdin");
        await input.WriteAsync("x"u8);
        Assert.Equal("x", await second.ReadUntilAsync("x"));
        await input.CloseAsync();
        await agent.WaitAsync(id);
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Exec_has_streams_code_and_end_of_its_own()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("exec");
        Bundle.Write(Path.Combine(bed.Share, id), ["sleep", "1000"]);
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        await agent.ExecAsync(id, "e1", ["sh", "-c", "cat; echo done >&2; exit 7"], stdin: true);
        var (output, error) = (agent.ReadAsync($"{id}-e1-stdout"), agent.ReadAsync($"{id}-e1-stderr"));
        await agent.StartAsync(id, "e1");
        await using (var input = await agent.Host.OpenInputAsync($"{id}-e1-stdin"))
        {
            var text = new string('x', 100_000);
            await input.WriteAsync(Encoding.UTF8.GetBytes(text));
            await input.CompleteAsync();
            Assert.Equal(text, await output);
        }
        Assert.Equal("done\n", await error);
        Assert.Equal(7u, await agent.WaitAsync(id, "e1"));
        Assert.Equal(7u, (await agent.DeleteAsync(id, "e1")).ExitStatus);
        Assert.Equal(Status.Running, (await agent.Tasks.StateAsync(new StateRequest { Id = id }, AgentClient.Soon)).Status);
        await agent.KillAsync(id);
        Assert.Equal(137u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Terminal_is_one_stream_with_a_size()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("tty");
        Bundle.Write(Path.Combine(bed.Share, id), ["sh"], terminal: true);
        await agent.CreateAsync(id, stdin: true, terminal: true);
        using var output = await agent.OpenStreamAsync(id + "-stdout");
        using var input = await agent.OpenStreamAsync(id + "-stdin");
        await agent.StartAsync(id);
        await agent.Tasks.ResizePtyAsync(new ResizePtyRequest { Id = id, Width = 123, Height = 45 }, AgentClient.Soon);
        await input.WriteAsync("stty size; echo err >&2; exit 3\n"u8);
        var text = Encoding.UTF8.GetString(await output.ReadToEndAsync());
        Assert.Contains("45 123\r\n", text, StringComparison.Ordinal);
        Assert.Contains("err\r\n", text, StringComparison.Ordinal);
        Assert.Equal(3u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Task_goes_on_when_it_is_paused_and_resumed()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("pause");
        Bundle.Write(Path.Combine(bed.Share, id), ["sleep", "1000"]);
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
        await agent.Tasks.PauseAsync(new PauseRequest { Id = id }, AgentClient.Soon);
        Assert.Equal(Status.Paused, (await agent.Tasks.StateAsync(new StateRequest { Id = id }, AgentClient.Soon)).Status);
        await agent.Tasks.ResumeAsync(new ResumeRequest { Id = id }, AgentClient.Soon);
        Assert.Single((await agent.Tasks.PidsAsync(new PidsRequest { Id = id }, AgentClient.Soon)).Processes);
        await agent.KillAsync(id, 15);
        await agent.KillAsync(id, 9);
        Assert.Equal(137u, await agent.WaitAsync(id));
        await agent.DeleteAsync(id);
    }

    [Fact]
    public async Task Command_that_does_not_exist_fails_and_leaves_nothing()
    {
        using var agent = await bed.OpenAsync();
        var id = bed.NewId("nothing");
        Bundle.Write(Path.Combine(bed.Share, id), ["/bin/none"]);
        var error = await Assert.ThrowsAsync<RpcException>(() => CreateAndStartAsync(agent, id));
        Assert.Contains("none", error.Status.Detail, StringComparison.Ordinal);
        await agent.DeleteAsync(id).ContinueWith(_ => { }, TaskScheduler.Default);
        Directory.Delete(Path.Combine(bed.Share, id), recursive: true);
        var (code, _, _) = await agent.RunAsync(id, "sh", "-c", "exit 5");
        Assert.Equal(5u, code);
    }

    private static async Task CreateAndStartAsync(AgentClient agent, string id)
    {
        await agent.CreateAsync(id);
        await agent.StartAsync(id);
    }
}

/// <summary>On this host.</summary>
public sealed class ProcessTaskTests(ProcessBed bed) : TaskTestBase(bed), IClassFixture<ProcessBed>;
