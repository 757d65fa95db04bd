using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Domain;

/// <summary>A sandbox's record, <c>sandbox.pb</c> in its <see cref="DomainPaths.SandboxFolder"/>; see <see cref="RecordFile"/>.</summary>
internal static class SandboxRecordFile
{
    private static ReadOnlySpan<byte> Magic => "KSR1"u8;

    internal static string PathIn(string sandboxFolder) => Path.Combine(sandboxFolder, "sandbox.pb");

    internal static void Write(string sandboxFolder, SandboxRecord record) => RecordFile.Write(PathIn(sandboxFolder), Magic, record);

    /// <summary>Null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="Write"/> writes, of a later version, or of another id.</exception>
    internal static SandboxRecord? Read(string sandboxFolder)
    {
        var record = RecordFile.Read(PathIn(sandboxFolder), Magic, SandboxRecord.Parser);
        RecordFile.CheckSchema(record, PathIn(sandboxFolder), record?.Schema ?? 0);
        return RecordFile.CheckPlace(record, sandboxFolder, record?.ContainerdAddress, record?.Namespace, record?.Id);
    }

    /// <summary>Removes the folder and the link to it, the record last.</summary>
    /// <exception cref="IOException">Something could not be removed.</exception>
    internal static void RemoveWithFolder(string sandboxFolder)
    {
        var link = DomainPaths.LinkTo(sandboxFolder);
        if (new FileInfo(link).LinkTarget == sandboxFolder)
        {
            File.Delete(link);
        }
        RecordFile.RemoveWithFolder(PathIn(sandboxFolder));
    }

    /// <summary>Puts a record that cannot be read where a person finds it; returns its new path.</summary>
    internal static string Quarantine(DomainPaths paths, string sandboxFolder) =>
        RecordFile.Quarantine(paths, paths.Sandboxes, PathIn(sandboxFolder));
}
