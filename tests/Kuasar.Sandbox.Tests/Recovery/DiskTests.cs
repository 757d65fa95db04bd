using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>A run directory that cannot be written, or that is another's: a clear error, and no loss.</summary>
public sealed class DiskTests : IAsyncLifetime
{
    private RecoveryBed _bed = null!;

    public async ValueTask InitializeAsync()
    {
        _bed = RecoveryBed.Make();
        Directory.CreateDirectory(_bed.Bed.Paths.Run);
        Libc.Mount("tmpfs", _bed.Bed.Paths.Run, "tmpfs", 0, "size=2m,mode=700");
        _bed.Bed.Containerd.Start();
        await _bed.Bed.BeginAsync();
    }

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private string Filler => Path.Combine(_bed.Bed.Paths.Run, "filler");

    private void Fill()
    {
        using var file = Libc.Open(Filler, Libc.O_WRONLY | Libc.O_CREAT, 0x180);
        var block = new byte[4096];
        while (Libc.Write(file, block) > 0)
        {
        }
    }

    private static async Task RefusedAsync(string why, Func<Task> call) =>
        Assert.Contains(why, (await SandboxBed.Fails(StatusCode.Unknown, call)).Status.Detail, StringComparison.Ordinal);

    /// <summary>"one" runs, "two" is created, "dead" has stopped.</summary>
    private async Task PrepareAsync()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.CreateAsync("two");
        await _bed.RunAsync("dead");
        await _bed.KillAsync("dead");
        await _bed.WaitAsync("dead");
        // The last thing that is written down of it.
        await Within.Until(() => _bed.Files("dead").Record.Exit.Told, "the end of the telling");
    }

    private async Task AssertRefusesAsync(string why)
    {
        await RefusedAsync(why, () => _bed.CreateAsync("new"));
        await RefusedAsync(why, () => _bed.Bed.CreateAsync("newpod", SandboxBed.Options(_bed.Seconds)));
        await RefusedAsync(why, () => _bed.StartAsync("two"));
        await RefusedAsync(why, () => _bed.ExecAsync("exec"));
        await _bed.FailsAsync(StatusCode.NotFound, "new");
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.Bed.StatusAsync("newpod"));
        Assert.Equal((Status.Running, Status.Created, Status.Stopped), (await _bed.StatusAsync(), await _bed.StatusAsync("two"), await _bed.StatusAsync("dead")));
        Assert.False(_bed.Files("new").Exists);
        Assert.Equal(3, _bed.Processes().Length);
    }

    [Fact]
    public async Task With_a_full_disk_what_is_new_is_refused_what_lives_goes_on_and_what_ends_is_told()
    {
        await PrepareAsync();
        Fill();

        await AssertRefusesAsync("No space left");
        Assert.Empty(Directory.GetFiles(_bed.Bed.Paths.Run, "*.tmp", SearchOption.AllDirectories));
        await _bed.KillAsync();
        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
        File.Delete(Filler);

        await _bed.StartAsync("two");
        await _bed.RunAsync("new");
        await _bed.DeleteAsync();
        foreach (var id in new[] { "two", "new", "dead" })
        {
            await _bed.RemoveAsync(id);
        }
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task With_a_full_disk_another_life_takes_over_all_the_same()
    {
        await PrepareAsync();
        await _bed.RestartAsync(Fill);

        await AssertRefusesAsync("No space left");
        Assert.Equal("SANDBOX_READY", await _bed.Bed.StateAsync());
        await _bed.KillAsync();
        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
    }

    [Fact]
    public async Task With_a_read_only_disk_what_is_new_is_refused_and_a_start_says_why()
    {
        await PrepareAsync();
        await RunAsync("--bind", _bed.Bed.Paths.Run, _bed.Bed.Paths.Run);
        await RunAsync("-o", "remount,bind,ro", _bed.Bed.Paths.Run);

        await AssertRefusesAsync("Read-only");
        await using (var next = NewHost())
        {
            var error = await Assert.ThrowsAnyAsync<IOException>(() => next.StartAsync());
            Assert.Contains($"{_bed.Bed.Paths.Run}/lock", error.Message, StringComparison.Ordinal);
        }
        await _bed.KillAsync();
        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
        await RunAsync(unmount: true, _bed.Bed.Paths.Run);

        await _bed.RestartAsync();
        Assert.Equal((Status.Created, Status.Stopped), (await _bed.StatusAsync("two"), await _bed.StatusAsync("dead")));
        Assert.Equal("SANDBOX_READY", await _bed.Bed.StateAsync());
    }

    [Fact]
    public async Task A_second_sandboxer_on_the_folder_is_refused_and_harms_nothing()
    {
        await PrepareAsync();
        var before = Snapshot();
        await using (var second = NewHost())
        {
            var error = await Within.Fails(SandboxError.AlreadyExists, () => second.StartAsync());
            Assert.Contains(_bed.Bed.Paths.Run, error.Message, StringComparison.Ordinal);
        }

        Assert.Equal(before, Snapshot());
        Assert.Equal((Status.Running, Status.Created), (await _bed.StatusAsync(), await _bed.StatusAsync("two")));
        await _bed.StartAsync("two");

        string[] Snapshot() => [.. Directory.GetFiles(_bed.Bed.Paths.Run, "*.pb", SearchOption.AllDirectories).Order().Select(path => Convert.ToHexString(File.ReadAllBytes(path)))];
    }

    private SandboxerHost NewHost() => new(
        new CrashingSandboxer.ProcessSandboxer(_bed.Runtime),
        new SandboxerOptions { Name = "test", RunDirectory = _bed.Bed.Paths.Run, LoggerFactory = NullLoggerFactory.Instance, TrimMemoryWhenIdle = false });

    private static Task RunAsync(params string[] arguments) => RunAsync(unmount: false, arguments);

    private static async Task RunAsync(bool unmount, params string[] arguments)
    {
        using var process = System.Diagnostics.Process.Start(unmount ? "umount" : "mount", arguments);
        await process.WaitForExitAsync().InTime();
        Assert.Equal(0, process.ExitCode);
    }
}
