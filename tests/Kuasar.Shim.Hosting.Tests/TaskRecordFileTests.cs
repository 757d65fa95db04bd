using System.Text;
using Kuasar.Domain;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Shim.Hosting.Tests;

// TaskRecordFile is linked into the host; its users there are delete and, in Kuasar.Sandbox, the sandboxer.
public sealed class TaskRecordFileTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("krecord-").FullName;
    private readonly DomainPaths _paths;
    private readonly string _folder;

    public TaskRecordFileTests()
    {
        _paths = new DomainPaths(Path.Combine(_root, "run"));
        _folder = _paths.TaskFolder("/run/containerd.sock", "k8s.io", "a");
    }

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Write_Read_RoundTrip()
    {
        var record = Record();
        TaskRecordFile.Write(_folder, new TaskRecord());

        TaskRecordFile.Write(_folder, record);

        Assert.Equal(record, TaskRecordFile.Read(_folder));
        Assert.Equal(["task.pb"], Directory.GetFiles(_folder).Select(Path.GetFileName));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(TaskRecordFile.PathIn(_folder)));
        for (var folder = _folder; folder != _root; folder = Path.GetDirectoryName(folder)!)
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(folder));
        }
    }

    [Fact]
    public void Write_Bytes()
    {
        TaskRecordFile.Write(_folder, new TaskRecord { ContainerdAddress = "1234567" });

        // "KTR1", CRC-32C of what follows, then field 1.
        var bytes = File.ReadAllBytes(TaskRecordFile.PathIn(_folder));
        Assert.Equal("KTR1"u8, bytes.AsSpan(0, 4));
        Assert.Equal("\x0a\x07" + "1234567", Encoding.ASCII.GetString(bytes.AsSpan(8)));
        Assert.Equal(ReferenceCrc32C(bytes[8..]), BitConverter.ToUInt32(bytes, 4));
        Assert.Equal(0xE3069283, ReferenceCrc32C("123456789"u8.ToArray()));
    }

    [Fact]
    public void Read_None_Null() => Assert.Null(TaskRecordFile.Read(_folder));

    [Fact]
    public void Read_AnyFlippedBitOrMissingByte_Refused()
    {
        TaskRecordFile.Write(_folder, Record());
        var path = TaskRecordFile.PathIn(_folder);
        var good = File.ReadAllBytes(path);
        for (var i = 0; i < good.Length; i++)
        {
            var bad = (byte[])good.Clone();
            bad[i] ^= 0x10;
            File.WriteAllBytes(path, bad);
            Assert.Throws<InvalidDataException>(() => TaskRecordFile.Read(_folder));
            File.WriteAllBytes(path, good[..i]);
            Assert.Throws<InvalidDataException>(() => TaskRecordFile.Read(_folder));
        }
    }

    [Fact]
    public void Quarantine_KeepsTheBytes()
    {
        Directory.CreateDirectory(_folder);
        File.WriteAllText(TaskRecordFile.PathIn(_folder), "garbage");

        var kept = TaskRecordFile.Quarantine(_paths, _folder);

        Assert.Equal("garbage", File.ReadAllText(kept));
        Assert.Equal(_paths.Quarantine, Path.GetDirectoryName(kept));
        Assert.Null(TaskRecordFile.Read(_folder));
    }

    private static TaskRecord Record() => new()
    {
        ContainerdAddress = "/run/containerd.sock",
        Namespace = "k8s.io",
        Id = "a",
        Processes = { new ProcessRecord { Pid = 5, StartTime = 7, BootId = "b" } },
        Mounts = { "/m" },
    };

    private static uint ReferenceCrc32C(byte[] data)
    {
        var crc = uint.MaxValue;
        foreach (var b in data)
        {
            crc ^= b;
            for (var i = 0; i < 8; i++)
            {
                crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
            }
        }
        return ~crc;
    }
}
