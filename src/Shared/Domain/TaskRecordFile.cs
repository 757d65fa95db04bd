using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using Google.Protobuf;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Domain;

/// <summary>
/// A task's record on disk, <c>task.pb</c> in its <see cref="DomainPaths.TaskFolder"/>:
/// <code>
/// +--------+----------------+---------------------+
/// | "KTR1" | CRC-32C u32 LE | protobuf TaskRecord |
/// +--------+----------------+---------------------+
/// 0        4                8
/// </code>
/// Replaced as a whole, so that a reader sees the old one or the new one.
/// </summary>
internal static class TaskRecordFile
{
    private const int CrcOffset = 4, PayloadOffset = 8, MaxLength = 4 << 20;

    private static ReadOnlySpan<byte> Magic => "KTR1"u8;

    internal static string PathIn(string taskFolder) => Path.Combine(taskFolder, "task.pb");

    internal static void Write(string taskFolder, TaskRecord record)
    {
        var size = record.CalculateSize();
        var content = new byte[PayloadOffset + size];
        Magic.CopyTo(content);
        record.WriteTo(content.AsSpan(PayloadOffset));
        BinaryPrimitives.WriteUInt32LittleEndian(content.AsSpan(CrcOffset), Crc32C(content.AsSpan(PayloadOffset)));

        Libc.CreateFolders(taskFolder, DomainPaths.FolderMode);
        var path = PathIn(taskFolder);
        // By process: a sandboxer that starts and a shim may write at once.
        var temporary = string.Create(CultureInfo.InvariantCulture, $"{path}.{Environment.ProcessId}.tmp");
        using (var file = Libc.Open(temporary, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_TRUNC, DomainPaths.FileMode))
        {
            Libc.WriteAll(file, content, temporary);
            Libc.Sync(file, temporary);
        }
        Libc.Rename(temporary, path);
    }

    /// <summary>Null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="Write"/> writes.</exception>
    internal static TaskRecord? Read(string taskFolder)
    {
        var path = PathIn(taskFolder);
        if (Libc.ReadFile(path, MaxLength) is not { } content)
        {
            return null;
        }
        if (content.Length < PayloadOffset || !content.AsSpan(0, CrcOffset).SequenceEqual(Magic))
        {
            throw new InvalidDataException($"{path} is not a task record");
        }
        var payload = content.AsSpan(PayloadOffset);
        if (BinaryPrimitives.ReadUInt32LittleEndian(content.AsSpan(CrcOffset)) != Crc32C(payload))
        {
            throw new InvalidDataException($"{path} is damaged: its checksum does not match");
        }
        try
        {
            return TaskRecord.Parser.ParseFrom(payload);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"{path} is damaged: {e.Message}", e);
        }
    }

    /// <summary>Puts a record that cannot be read where a person finds it; returns its new path.</summary>
    internal static string Quarantine(DomainPaths paths, string taskFolder)
    {
        Libc.CreateFolders(paths.Quarantine, DomainPaths.FolderMode);
        var name = Path.GetRelativePath(paths.Tasks, taskFolder).Replace('/', '~');
        var moment = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        var target = Path.Combine(paths.Quarantine, string.Create(CultureInfo.InvariantCulture, $"{name}~{moment}~{Environment.ProcessId}.task.pb"));
        Libc.Rename(PathIn(taskFolder), target);
        return target;
    }

    /// <summary>CRC-32C as iSCSI has it; BitOperations leaves both inversions to the caller.</summary>
    private static uint Crc32C(ReadOnlySpan<byte> data)
    {
        var crc = uint.MaxValue;
        foreach (var b in data)
        {
            crc = BitOperations.Crc32C(crc, b);
        }
        return ~crc;
    }
}
