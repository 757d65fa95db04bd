using System.Text;
using Google.Protobuf;
using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Sandbox.Tests.Sandboxes;
using Kuasar.Sandbox.Tests.Support;
using Status = Kuasar.Protocol.Contracts.TaskTypes.Status;

namespace Kuasar.Sandbox.Tests.Recovery;

/// <summary>
/// What is known to go wrong when a sandboxer keeps its state on disk: the holes that a reading of Kuasar's has shown, by their letters there,
/// as far as they can exist here. i and j are of virtual machines' devices; k and p, of streams, are tested end to end.
/// </summary>
public sealed class KuasarHoleTests : IAsyncLifetime
{
    private RecoveryBed _bed = null!;

    public async ValueTask InitializeAsync() => _bed = await RecoveryBed.StartAsync();

    public ValueTask DisposeAsync() => _bed.DisposeAsync();

    private string[] Quarantine => Directory.Exists(_bed.Bed.Paths.Quarantine) ? Directory.GetFiles(_bed.Bed.Paths.Quarantine) : [];

    /// <summary>Nothing is known of it, its record is kept, and what it names is not touched.</summary>
    private async Task AssertQuarantinedAsync(int processes)
    {
        await _bed.FailsAsync(StatusCode.NotFound);
        Assert.Single(Quarantine);
        // A `delete`, and another start, are no reason either.
        await _bed.RemoveAsync("one");
        await _bed.RestartAsync();
        Assert.Equal(processes, _bed.Processes().Length);
        Assert.Single(Quarantine);
        Assert.Equal(Status.Running, await _bed.StatusAsync("two"));
    }

    private async Task RunTwoAsync()
    {
        await _bed.RunAsync();
        await _bed.RunAsync("two");
    }

    [Fact]
    public async Task Hole_a_a_write_that_was_cut_short_leaves_the_record_before_it()
    {
        var pid = await _bed.RunAsync();
        await _bed.RunPodAsync();
        await _bed.RestartAsync(() =>
        {
            // The pid of a writer that is no more.
            File.WriteAllBytes(_bed.Files("one").RecordPath + ".4999999.tmp", [1, 2, 3]);
            File.WriteAllBytes(SandboxRecordFile.PathIn(_bed.Bed.FolderOf("pod")) + ".4999999.tmp", []);
        });

        Assert.Equal((uint)pid, (await _bed.StateAsync()).Pid);
        Assert.Equal("SANDBOX_READY", await _bed.Bed.StateAsync());
        await _bed.Bed.ShutdownAsync();
        await _bed.AssertNothingLeftButAsync("one");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(60)]
    public async Task Hole_a_a_truncated_record_is_put_aside_and_what_it_names_left_alone(int length)
    {
        await RunTwoAsync();
        await _bed.RestartAsync(() => File.WriteAllBytes(_bed.Files("one").RecordPath, File.ReadAllBytes(_bed.Files("one").RecordPath)[..length]));

        await AssertQuarantinedAsync(processes: 2);
    }

    [Fact]
    public async Task Hole_a_a_truncated_record_of_a_sandbox_is_put_aside_and_its_tasks_left_alone()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.RunAsync("two");
        var path = SandboxRecordFile.PathIn(_bed.Bed.FolderOf("pod"));
        await _bed.RestartAsync(() => File.WriteAllBytes(path, File.ReadAllBytes(path)[..20]));

        await _bed.FailsAsync(StatusCode.NotFound);
        await SandboxBed.Fails(StatusCode.NotFound, () => _bed.Bed.StatusAsync());
        Assert.Single(Quarantine);
        Assert.Equal(3, _bed.Processes().Length);
        Assert.NotEmpty(MountTable.Below(_bed.Bed.FolderOf("pod")));
        Assert.Equal(Status.Running, await _bed.StatusAsync("two"));
    }

    [Fact]
    public async Task Hole_b_a_record_of_a_later_version_is_put_aside_and_what_it_names_left_alone()
    {
        await RunTwoAsync();
        await _bed.RestartAsync(() => _bed.Files("one").Change(record => record.Schema = RecordFile.Schema + 1));

        await AssertQuarantinedAsync(processes: 2);
        Assert.EndsWith(".task.pb", Quarantine[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hole_b_fields_that_a_later_version_has_added_survive_a_rewrite()
    {
        await _bed.RunAsync();
        await _bed.RunPodAsync();
        var sandbox = _bed.Bed.FolderOf("pod");
        await _bed.RestartAsync(() =>
        {
            _bed.Files("one").Change(record => record.MergeFrom(Unknown));
            var record = SandboxRecordFile.Read(sandbox)!;
            record.MergeFrom(Unknown);
            SandboxRecordFile.Write(sandbox, record);
        });
        await _bed.KillAsync();
        await _bed.WaitAsync();
        await _bed.Bed.StopAsync();

        Assert.Equal(TaskRecord.Types.State.Stopped, _bed.Files("one").Record.State);
        Assert.Equal(SandboxRecord.Types.State.Stopped, SandboxRecordFile.Read(sandbox)!.State);
        Assert.Contains("from the future", Encoding.UTF8.GetString(_bed.Files("one").Record.ToByteArray()), StringComparison.Ordinal);
        Assert.Contains("from the future", Encoding.UTF8.GetString(SandboxRecordFile.Read(sandbox)!.ToByteArray()), StringComparison.Ordinal);
    }

    /// <summary>Field 1000, a string.</summary>
    private static byte[] Unknown => [0xC2, 0x3E, 15, .. "from the future"u8];

    [Fact]
    public async Task Hole_b_the_records_of_versions_before_recovery_are_left_to_containerd()
    {
        await RunTwoAsync();
        await _bed.RestartAsync(() => _bed.Files("one").Change(record => record.Schema = 0));

        await _bed.FailsAsync(StatusCode.NotFound);
        Assert.Equal(2, _bed.Processes().Length);
        await _bed.RemoveAsync("one");
        await _bed.AssertNothingLeftButAsync("two");
    }

    // c, crashes between an act and its record: CrashTests.

    [Fact]
    public async Task Hole_d_a_second_create_touches_nothing_of_the_first_before_a_restart_and_after()
    {
        await _bed.RunPodAsync();
        var pid = await _bed.RunAsync(pod: "pod");
        for (var life = 0; life < 2; life++)
        {
            await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreatePodAsync());
            await SandboxBed.Fails(StatusCode.AlreadyExists, () => _bed.CreateAsync(pod: "pod"));
            await SandboxBed.Fails(StatusCode.FailedPrecondition, () => _bed.Bed.StartAsync("pod"));
            Assert.Equal(((uint)pid, "SANDBOX_READY"), ((await _bed.StateAsync()).Pid, await _bed.Bed.StateAsync()));
            Assert.Equal(2, _bed.Processes().Length);
            await _bed.RestartAsync();
        }
    }

    [Fact]
    public async Task Hole_e_Wait_of_what_has_ended_before_returns_at_once()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync();
        await _bed.KillAsync();
        await _bed.WaitAsync();
        await _bed.Bed.StopAsync();
        await _bed.RestartAsync();

        Assert.Equal(137u, (await _bed.WaitAsync()).ExitStatus);
        await _bed.Bed.WaitAsync();
    }

    [Fact]
    public async Task Hole_f_an_end_that_nobody_saw_is_never_a_success()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync();
        await _bed.RestartAsync(() => Array.ForEach(_bed.Processes(), RecoveryBed.KillUnseen));

        Assert.Equal((255u, 255u), ((await _bed.WaitAsync()).ExitStatus, (await _bed.Bed.WaitAsync()).ExitStatus));
    }

    // g, pids that are another's now: RecoveredTaskTests.A_process_that_has_its_pid_now_is_a_stranger.

    [Fact]
    public async Task Hole_h_a_recovery_makes_nothing_anew()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        var before = (MountTable.Below(_bed.Bed.Paths.Run).Count, _bed.Processes().Order().ToArray(), Cgroups());
        await _bed.RestartAsync();
        await _bed.StateAsync();

        Assert.Equal(before.Item1, MountTable.Below(_bed.Bed.Paths.Run).Count);
        Assert.Equal(before.Item2, _bed.Processes().Order());
        Assert.Equal(before.Item3, Cgroups());

        static int Cgroups() => Directory.GetDirectories("/sys/fs/cgroup").Sum(folder => Directory.GetDirectories(folder).Length);
    }

    [Fact]
    public async Task Hole_l_an_error_in_taking_over_harms_nothing_and_the_next_life_tries_again()
    {
        var pid = await _bed.RunAsync();
        foreach (var error in new Exception[] { new TimeoutException("busy"), new SandboxException(SandboxError.Unavailable, "busy"), new InvalidOperationException("a bug") })
        {
            _bed.Prepare = author => author.OnRecoverContainer = _ => throw error;
            await _bed.RestartAsync();
            await _bed.FailsAsync(StatusCode.NotFound);
            Assert.Equal([pid], _bed.Processes());
        }
        _bed.Prepare = _ => { };
        await _bed.RestartAsync();

        Assert.Equal((Status.Running, (uint)pid), ((await _bed.StateAsync()).Status, (await _bed.StateAsync()).Pid));
    }

    // m, serving waits for the slowest: RecoveredSandboxTests.While_an_author_is_slow_with_one_the_others_are_served.

    [Fact]
    public async Task Hole_n_a_removal_after_a_recovery_knows_every_process()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.ExecAsync("exec");
        await _bed.RestartAsync();
        Assert.Equal(3, _bed.Processes().Length);
        await _bed.RemoveAsync("pod");

        await _bed.AssertNothingLeftButAsync();
    }

    [Fact]
    public async Task Hole_o_lives_do_not_pile_up()
    {
        await _bed.RunPodAsync();
        await _bed.RunAsync(pod: "pod");
        await _bed.RestartAsync();
        await _bed.StateAsync();
        var (files, descriptors) = (Files(), Bed.OpenDescriptors);
        for (var life = 0; life < 5; life++)
        {
            await _bed.RestartAsync();
            await _bed.StateAsync();
        }

        Assert.Equal(files, Files());
        await Within.Until(() => Bed.OpenDescriptors <= descriptors, "no fd more");

        string[] Files() => [.. Directory.GetFileSystemEntries(_bed.Bed.Paths.Run, "*", SearchOption.AllDirectories).Order()];
    }

    [Fact]
    public async Task Also_a_record_under_the_name_of_another_is_put_aside()
    {
        await RunTwoAsync();
        await _bed.RestartAsync(() => File.Copy(_bed.Files("two").RecordPath, _bed.Files("one").RecordPath, overwrite: true));

        await AssertQuarantinedAsync(processes: 2);
    }

    [Fact]
    public async Task Also_an_endpoint_is_open_before_anybody_asks_and_one_that_cannot_be_read_is_put_aside()
    {
        await RunTwoAsync();
        var record = Assert.Single(EndpointRecordFile.FindAll(_bed.Bed.Paths));
        Assert.Equal((SandboxBed.Namespace, _bed.Bed.Instance), (EndpointRecordFile.Read(record)!.Namespace, EndpointRecordFile.Read(record)!.Containerd));
        await _bed.RestartAsync(() => File.WriteAllText(record, "no record"));

        Assert.EndsWith(".pb", Assert.Single(Quarantine), StringComparison.Ordinal);
        await _bed.FailsAsync(StatusCode.NotFound);
        Assert.Equal(2, _bed.Processes().Length);
        // Written anew when a shim asked, so the next life takes over what that one could not.
        await _bed.RestartAsync();
        Assert.Equal(Status.Running, await _bed.StatusAsync());
    }
}
