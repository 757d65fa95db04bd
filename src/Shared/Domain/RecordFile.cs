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
        using (var file = Libc.Open(temporary, Libc.O_WRONLY | Libc.O_CREAT | Libc.O_TRUNC, DomainPaths.FileMode))
        {
            Libc.WriteAll(file, content, temporary);
            Libc.Sync(file, temporary);
        }
        Libc.Rename(temporary, path);
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
