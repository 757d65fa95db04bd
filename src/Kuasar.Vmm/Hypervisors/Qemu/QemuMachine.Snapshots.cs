using System.Text.Json.Nodes;
using Google.Protobuf;
using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <content>
/// A snapshot is a folder of <c>memory</c>, QEMU's migration stream, and <c>machine</c>, the record: it must come into a machine of the same devices in
/// the same slots.
/// </content>
internal sealed partial class QemuMachine
{
    private const string MemoryName = "memory", RecordName = "machine";

    /// <summary>All of a guest's memory is written, or read.</summary>
    private static readonly TimeSpan s_migrationLimit = TimeSpan.FromMinutes(5), s_migrationPoll = TimeSpan.FromMilliseconds(20);

    private protected override async Task SnapshotCoreAsync(string directory, CancellationToken cancellationToken)
    {
        RequireSaveable();
        await File.WriteAllBytesAsync(Path.Combine(directory, RecordName), Record.ToByteArray(), cancellationToken).ConfigureAwait(false);
        await AskAsync("migrate", new JsonObject { ["uri"] = $"file:{Path.Combine(directory, MemoryName)}" }, cancellationToken).ConfigureAwait(false);
        await WaitForMigrationAsync(cancellationToken).ConfigureAwait(false);
    }

    private protected override async Task RestoreCoreAsync(string directory, CancellationToken cancellationToken)
    {
        RequireSaveable();
        TakeSlots(directory);
        // The devices must all be there before the stream is read.
        await StartAsync(["-incoming", "defer"], cancellationToken).ConfigureAwait(false);
        _events.ExpectStop(true);
        await AskAsync("migrate-incoming", new JsonObject { ["uri"] = $"file:{Path.Combine(directory, MemoryName)}" }, cancellationToken).ConfigureAwait(false);
        await WaitForMigrationAsync(cancellationToken).ConfigureAwait(false);
    }

    // The daemons have state of their own, which they cannot give.
    private void RequireSaveable()
    {
        var shares = Record.Devices.Where(device => device.FileSystem is not null).Select(device => device.Id);
        string[] daemons = [.. Record.ContextId != 0 ? shares.Prepend("vsock") : shares];
        if (daemons.Length != 0)
        {
            var what = string.Join(" and ", daemons);
            throw new VmException(VmError.Unsupported, $"QEMU cannot save or restore a machine with {what}: a daemon's state is not QEMU's");
        }
        if (Record.Driver.ContainsKey(ResizedKey))
        {
            throw new VmException(VmError.Unsupported, "a machine that has been resized cannot be saved");
        }
    }

    private void TakeSlots(string directory)
    {
        var path = Path.Combine(directory, RecordName);
        VmConfig.RequireFile("snapshot's file", path);
        VmConfig.RequireFile("snapshot's file", Path.Combine(directory, MemoryName));
        VmRecord saved;
        try
        {
            saved = VmRecord.Parser.ParseFrom(File.ReadAllBytes(path));
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new VmException(VmError.InvalidConfig, $"{path} is no snapshot's", e);
        }
        VmConfig.Require(
            saved.Hypervisor == Record.Hypervisor && saved.MemoryBytes == Record.MemoryBytes && saved.Vcpus == Record.Vcpus && saved.MaxVcpus == Record.MaxVcpus,
            "the saved machine and this one differ in memory or vcpus");
        VmConfig.Require(saved.Devices.Count == Record.Devices.Count, $"the saved machine had {saved.Devices.Count} devices, and this one has {Record.Devices.Count}");
        foreach (var device in Record.Devices)
        {
            var other = saved.Devices.FirstOrDefault(other => other.Id == device.Id && other.KindCase == device.KindCase);
            VmConfig.Require(other is not null, $"the saved machine had no {device.Id}");
            device.Slot = other!.Slot;
        }
        Record.Driver[PortsKey] = saved.Driver[PortsKey];
    }

    private async Task WaitForMigrationAsync(CancellationToken cancellationToken)
    {
        using var timer = new CancellationTokenSource(s_migrationLimit, Environment.TimeProvider);
        while (true)
        {
            var migration = await AskAsync("query-migrate", null, cancellationToken).ConfigureAwait(false);
            switch (migration?["status"]?.GetValue<string>())
            {
                case "completed":
                    return;
                case "failed" or "cancelled":
                    throw new VmException(VmError.Refused, $"QEMU: {migration["error-desc"] ?? "the memory could not be written or read"}");
            }
            if (timer.IsCancellationRequested)
            {
                throw new VmException(VmError.TimedOut, $"the memory was not written or read within {s_migrationLimit.TotalMinutes} min");
            }
            await Task.Delay(s_migrationPoll, Environment.TimeProvider, cancellationToken).ConfigureAwait(false);
        }
    }
}
