using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV2;
using Kuasar.Vmm.Agent.Tests.Vsock;
using Kuasar.Vmm.Agent.Tests.Support;
using Kuasar.Vmm.Contracts.Agent;
using Kuasar.Vmm.Tests.Support;
using Task = System.Threading.Tasks.Task;

namespace Kuasar.Vmm.Agent.Tests.Guests;

/// <summary>The client against a guest agent in a real guest of QEMU's.</summary>
[Collection(nameof(NativeTests))] // never beside: a child that is being started holds the ports that they let go of
public sealed class GuestTests(ClassGuest booted) : IClassFixture<ClassGuest>, IAsyncLifetime
{
    private readonly string _id = "t" + Guid.NewGuid().ToString("N")[..8];
    private QemuGuest _guest = null!;
    private AgentClient _client = null!;

    public async ValueTask InitializeAsync()
    {
        _guest = await booted.GetAsync();
        _client = AgentClient.For(_guest.Machine);
    }

    public ValueTask DisposeAsync() => _client?.DisposeAsync() ?? default;

    [Fact]
    public async Task The_guest_serves_and_its_clock_is_set()
    {
        await _client.WaitReadyAsync(null, TimeSpan.FromSeconds(60));
        await _client.SyncClockAsync();
        var delta = await _client.SyncClockAsync();
        Assert.InRange(delta.TotalMilliseconds, -200, 200);
        var answer = await _client.Sandbox.ExecVMProcessAsync(new ExecVMProcessRequest { Command = "cat /proc/version" });
        Assert.StartsWith("Linux version 6.", answer.Out, StringComparison.Ordinal);
        await Assert.ThrowsAsync<RpcException>(() => _client.Sandbox.ExecVMProcessAsync(new ExecVMProcessRequest { Command = "exit 3" }).ResponseAsync);
    }

    [Fact]
    public async Task A_container_runs_with_its_stdio_as_streams()
    {
        var (input, output, error) = await CreateAsync(false, "sh", "-c", "wc -c; echo to-stderr >&2; exit 7");
        await using (input)
        await using (output)
        await using (error)
        {
            await StartAsync();
            await input!.WriteAsync(new byte[100_000]).AsTask().Within();
            await input.CompleteAsync().Within();
            Assert.Equal("100000\n", await ReadAsync(output));
            Assert.Equal("to-stderr\n", await ReadAsync(error!));
            Assert.Equal(7u, await EndAsync());
        }
    }

    [Fact]
    public async Task Ten_megabytes_arrive_whole_at_a_reader_that_waits()
    {
        var (input, output, error) = await CreateAsync(false, "sh", "-c", "cat; echo done >&2");
        await using (input)
        await using (output)
        await using (error)
        {
            await StartAsync();
            var all = RandomNumberGenerator.GetBytes(10 << 20);
            var writing = Task.Run(async () =>
            {
                await input!.WriteAsync(all);
                await input.CompleteAsync();
            });
            await Task.Delay(500);
            Assert.False(writing.IsCompleted);
            var received = new MemoryStream();
            await output.CopyToAsync(received).WaitAsync(TimeSpan.FromSeconds(60));
            await writing.Within();
            Assert.True(all.AsSpan().SequenceEqual(received.ToArray()));
            Assert.Equal("done\n", await ReadAsync(error!));
            Assert.Equal(0u, await EndAsync());
        }
    }

    [Fact]
    public async Task A_terminal_has_one_output_and_its_size_changes()
    {
        var (input, output, _) = await CreateAsync(true, "sh", "-c", "stty -echo; read line; stty size; echo got $line");
        await using (input)
        await using (output)
        {
            await StartAsync();
            await _client.Tasks.ResizePtyAsync(new ResizePtyRequest { Id = _id, Width = 90, Height = 33 });
            await input!.WriteAsync("hello\n"u8.ToArray()).AsTask().Within();
            var text = await ReadAsync(output);
            Assert.Contains("33 90", text, StringComparison.Ordinal);
            Assert.Contains("got hello", text, StringComparison.Ordinal);
            Assert.Equal(0u, await EndAsync());
        }
    }

    [Fact]
    public async Task A_process_is_executed_in_a_container_and_both_are_killed()
    {
        var (input, output, error) = await CreateAsync(false, "sleep", "1000");
        await using (input)
        await using (output)
        await using (error)
        {
            await StartAsync();
            await using var execOutput = await _client.OpenOutputAsync(AgentClient.StreamId(_id, "e1", "stdout"));
            await _client.Tasks.ExecAsync(new ExecProcessRequest
            {
                Id = _id,
                ExecId = "e1",
                Stdout = AgentClient.StreamUri(_guest.Machine.EndPoint(AgentClient.Port), AgentClient.StreamId(_id, "e1", "stdout")),
                Spec = TypeUrl.PackJson(TypeUrl.OciProcess, Encoding.UTF8.GetBytes(GuestShare.Process(false, "sh", "-c", "echo inside; exit 9").ToJsonString())),
            });
            await _client.Tasks.StartAsync(new StartRequest { Id = _id, ExecId = "e1" });
            Assert.Equal("inside\n", await ReadAsync(execOutput));
            Assert.Equal(9u, (await _client.Tasks.WaitAsync(new WaitRequest { Id = _id, ExecId = "e1" }).ResponseAsync.Within()).ExitStatus);
            await _client.Tasks.DeleteAsync(new DeleteRequest { Id = _id, ExecId = "e1" });
            await _client.Tasks.KillAsync(new KillRequest { Id = _id, Signal = 9, All = true });
            Assert.Equal(137u, await EndAsync());
        }
    }

    [Fact]
    public async Task Another_client_takes_over_a_containers_output()
    {
        var (input, output, error) = await CreateAsync(false, "sh", "-c", "while read line; do echo $line; done");
        await using (input)
        await using (error)
        {
            await StartAsync();
            await input!.WriteAsync("one\n"u8.ToArray());
            var buffer = new byte[100];
            Assert.Equal(4, await output.ReadAsync(buffer).Within());
            await using var second = AgentClient.For(_guest.Machine);
            await using var taken = await second.OpenOutputAsync(AgentClient.StreamId(_id, null, "stdout")).Within();
            await Assert.ThrowsAnyAsync<IOException>(() => output.ReadAsync(buffer).Within());
            await output.DisposeAsync();
            await input.WriteAsync("two\n"u8.ToArray());
            Assert.Equal(4, await taken.ReadAsync(buffer).Within());
            await input.CompleteAsync().Within();
            Assert.Equal(0u, await EndAsync());
        }
    }

    /// <summary>Those that this host has no AF_VSOCK for, as it lacks the module of its loopback: the same program, on a kernel that has it.</summary>
    [Fact]
    public async Task A_kernel_with_vsock_carries_streams_both_ways()
    {
        var module = Directory.EnumerateFiles(Path.Combine(Programs.Image, "prefix/lib/modules"), "vsock_loopback.ko", SearchOption.AllDirectories).Single();
        var runtime = Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "../../.."));
        // .NET wants /proc and a folder for files; the rest is this host's, to be read.
        await _guest.RunAsync(
            $"""
            set -e
            busybox mkdir /mnt/host
            mount -t virtiofs -o ro {ClassGuest.HostTag} /mnt/host
            mount -t proc proc /mnt/host/proc
            mount -o rbind /dev /mnt/host/dev
            busybox insmod /mnt/host{module}
            """);
        var output = await _guest.RunAsync(
            $"DOTNET_ROOT={runtime} DOTNET_EnableDiagnostics=0 TMPDIR=/dev/shm busybox chroot /mnt/host {Environment.ProcessPath} -noColor -explicit on -class {typeof(NativeTests).FullName} 2>&1 || true",
            TimeSpan.FromSeconds(120));
        var count = typeof(NativeTests).GetMethods().Count(static method => method.IsDefined(typeof(FactAttribute), inherit: false));
        Assert.Contains($"Total: {count}, Errors: 0, Failed: 0, Skipped: 0, Not Run: 0", output, StringComparison.Ordinal);
    }

    private async Task<(AgentInput? Input, Stream Output, Stream? Error)> CreateAsync(bool terminal, params string[] arguments)
    {
        await _client.WaitReadyAsync(null, TimeSpan.FromSeconds(60));
        var bundle = await _guest.AddBusyboxBundleAsync(_id, terminal, arguments);
        string Id(string name) => AgentClient.StreamId(_id, null, name);
        string Uri(string name) => AgentClient.StreamUri(_guest.Machine.EndPoint(AgentClient.Port), Id(name));
        var input = await _client.OpenInputAsync(Id("stdin")).Within();
        var output = await _client.OpenOutputAsync(Id("stdout")).Within();
        var error = terminal ? null : await _client.OpenOutputAsync(Id("stderr")).Within();
        await _client.Tasks.CreateAsync(new CreateTaskRequest
        {
            Id = _id, Bundle = bundle, Terminal = terminal, Stdin = Uri("stdin"), Stdout = Uri("stdout"), Stderr = terminal ? "" : Uri("stderr"),
        }).ResponseAsync.Within();
        return (input, output, error);
    }

    private async Task StartAsync() => await _client.Tasks.StartAsync(new StartRequest { Id = _id }).ResponseAsync.Within();

    private async Task<uint> EndAsync()
    {
        var end = await _client.Tasks.WaitAsync(new WaitRequest { Id = _id }).ResponseAsync.Within();
        await _client.Tasks.DeleteAsync(new DeleteRequest { Id = _id }).ResponseAsync.Within();
        return end.ExitStatus;
    }

    private static async Task<string> ReadAsync(Stream stream)
    {
        using var reader = new StreamReader(stream, leaveOpen: true);
        return await reader.ReadToEndAsync().Within();
    }
}
