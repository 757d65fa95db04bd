using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Domain;

/// <summary>Whose a task socket is, in a file beside it; see <see cref="RecordFile"/>.</summary>
internal static class EndpointRecordFile
{
    private static ReadOnlySpan<byte> Magic => "KER1"u8;

    internal static string PathOf(string socket) => Path.ChangeExtension(socket, ".pb");

    internal static void Write(string socket, EndpointRecord record) => RecordFile.Write(PathOf(socket), Magic, record);

    /// <exception cref="InvalidDataException">It is not what <see cref="Write"/> writes, or of a later version.</exception>
    internal static EndpointRecord? Read(string path)
    {
        var record = RecordFile.Read(path, Magic, EndpointRecord.Parser);
        return RecordFile.CheckSchema(record, path, record?.Schema ?? 0);
    }

    /// <summary>All that are there.</summary>
    internal static string[] FindAll(DomainPaths paths) => Directory.Exists(paths.Sockets) ? Directory.GetFiles(paths.Sockets, "*.pb") : [];

    /// <summary>Puts a record that cannot be read where a person finds it; returns its new path.</summary>
    internal static string Quarantine(DomainPaths paths, string path) => RecordFile.Quarantine(paths, paths.Run, path);
}
