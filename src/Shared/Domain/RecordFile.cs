using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;
using Google.Protobuf;
using Kuasar.Linux;

namespace Kuasar.Domain;

/// <summary>
/// A record on disk:
/// <code>
/// +-------+----------------+------------------+
/// | magic | CRC-32C u32 LE | protobuf message |
/// +-------+----------------+------------------+
/// 0       4                8
/// </code>
/// Replaced as a whole, so that a reader sees the old one or the new one.
/// </summary>
internal static class RecordFile
{
    /// <summary>What is written here. A reader leaves alone what is greater: it cannot know what that means.</summary>
    internal const uint Schema = 1;

    private const int CrcOffset = 4, PayloadOffset = 8, MaxLength = 4 << 20;

    internal static void Write(string path, ReadOnlySpan<byte> magic, IMessage record)
    {
        var size = record.CalculateSize();
        var content = new byte[PayloadOffset + size];
        magic.CopyTo(content);
        record.WriteTo(content.AsSpan(PayloadOffset));
        BinaryPrimitives.WriteUInt32LittleEndian(content.AsSpan(CrcOffset), Crc32C(content.AsSpan(PayloadOffset)));

        Libc.CreateFolders(Path.GetDirectoryName(path)!, DomainPaths.FolderMode);
        // By process: a sandboxer that starts and a shim may write at once.
        var temporary = string.Create(CultureInfo.InvariantCulture, $"{path}.{Environment.ProcessId}.tmp");
        try
        {
            using (var file = Libc.Open(temporary, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_TRUNC, DomainPaths.FileMode))
            {
                Libc.WriteAll(file, content, temporary);
                Libc.Sync(file, temporary);
            }
            Libc.Rename(temporary, path);
        }
        catch
        {
            // The file system is full, most likely: what was written of it would only fill it more.
            Libc.TryRemoveFile(temporary);
            throw;
        }
    }

    /// <summary>Null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="Write"/> writes.</exception>
    internal static T? Read<T>(string path, ReadOnlySpan<byte> magic, MessageParser<T> parser) where T : class, IMessage<T>
    {
        if (Libc.ReadFile(path, MaxLength) is not { } content)
        {
            return null;
        }
        if (content.Length < PayloadOffset || !content.AsSpan(0, CrcOffset).SequenceEqual(magic))
        {
            throw new InvalidDataException($"{path} is not a record of this kind");
        }
        var payload = content.AsSpan(PayloadOffset);
        if (BinaryPrimitives.ReadUInt32LittleEndian(content.AsSpan(CrcOffset)) != Crc32C(payload))
        {
            throw new InvalidDataException($"{path} is damaged: its checksum does not match");
        }
        try
        {
            return parser.ParseFrom(payload);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException($"{path} is damaged: {e.Message}", e);
        }
    }

    /// <exception cref="InvalidDataException">It is of a later version.</exception>
    internal static T? CheckSchema<T>(T? record, string path, uint schema) where T : class =>
        schema <= Schema ? record : throw new InvalidDataException($"{path} is of schema {schema}, and this version knows {Schema}");

    /// <summary>The record, where it is of the id by whose folder it was found.</summary>
    /// <param name="record">Null passes.</param>
    /// <param name="folder">.../INSTANCE/NAMESPACE/ID.</param>
    /// <param name="containerdAddress">As the record has it, like the next two.</param>
    /// <param name="containerdNamespace">One half of the name.</param>
    /// <param name="id">The other.</param>
    /// <exception cref="InvalidDataException">It is of another id: somebody has copied it here.</exception>
    internal static T? CheckPlace<T>(T? record, string folder, string? containerdAddress, string? containerdNamespace, string? id) where T : class =>
        record is null || (Path.GetFileName(folder) == id &&
            Path.GetDirectoryName(folder) is { } inNamespace && Path.GetFileName(inNamespace) == containerdNamespace &&
            Path.GetFileName(Path.GetDirectoryName(inNamespace)) == DomainPaths.InstanceKey(containerdAddress!))
            ? record
            : throw new InvalidDataException($"the record in {folder} is of another id, {containerdNamespace}/{id} of {containerdAddress}");

    /// <summary>Removes a record and the folder it is in, the record last: until then the next life knows whose the rest is.</summary>
    /// <exception cref="IOException">Something could not be removed.</exception>
    internal static void RemoveWithFolder(string path)
    {
        var folder = Path.GetDirectoryName(path)!;
        if (!Directory.Exists(folder))
        {
            return;
        }
        foreach (var entry in new DirectoryInfo(folder).EnumerateFileSystemInfos())
        {
            if (entry is DirectoryInfo { LinkTarget: null } inner)
            {
                inner.Delete(recursive: true);
            }
            else if (entry.FullName != path)
            {
                entry.Delete();
            }
        }
        Directory.Delete(folder, recursive: true);
    }

    /// <summary>Removes what writers that were killed have left beside a record. One that lives may be about to rename its own.</summary>
    internal static void RemoveTemporaries(string path)
    {
        var (folder, name) = (Path.GetDirectoryName(path)!, Path.GetFileName(path));
        foreach (var file in Directory.Exists(folder) ? Directory.GetFiles(folder, name + ".*.tmp") : [])
        {
            if (Path.GetFileName(file)[(name.Length + 1)..^".tmp".Length] is var pid && !Directory.Exists($"/proc/{pid}"))
            {
                Libc.TryRemoveFile(file);
            }
        }
    }

    /// <summary>Puts a record that cannot be read where a person finds it; returns its new path.</summary>
    /// <param name="paths">The domain.</param>
    /// <param name="root">The folder of all records of its kind: what lies between is its new name.</param>
    /// <param name="path">The record.</param>
    internal static string Quarantine(DomainPaths paths, string root, string path)
    {
        Libc.CreateFolders(paths.Quarantine, DomainPaths.FolderMode);
        var name = Path.GetRelativePath(root, Path.GetDirectoryName(path)!).Replace('/', '~');
        var moment = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        var target = Path.Combine(
            paths.Quarantine, string.Create(CultureInfo.InvariantCulture, $"{name}~{moment}~{Environment.ProcessId}.{Path.GetFileName(path)}"));
        Libc.Rename(path, target);
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
