using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Domain;

/// <summary>A task's record, <c>task.pb</c> in its <see cref="DomainPaths.TaskFolder"/>; see <see cref="RecordFile"/>.</summary>
internal static class TaskRecordFile
{
    private static ReadOnlySpan<byte> Magic => "KTR1"u8;

    internal static string PathIn(string taskFolder) => Path.Combine(taskFolder, "task.pb");

    internal static void Write(string taskFolder, TaskRecord record) => RecordFile.Write(PathIn(taskFolder), Magic, record);

    /// <summary>Null when there is none.</summary>
    /// <exception cref="InvalidDataException">It is not what <see cref="Write"/> writes, of a later version, or of another id.</exception>
    internal static TaskRecord? Read(string taskFolder)
    {
        var record = RecordFile.Read(PathIn(taskFolder), Magic, TaskRecord.Parser);
        RecordFile.CheckSchema(record, PathIn(taskFolder), record?.Schema ?? 0);
        return RecordFile.CheckPlace(record, taskFolder, record?.ContainerdAddress, record?.Namespace, record?.Id);
    }

    /// <summary>Puts a record that cannot be read where a person finds it; returns its new path.</summary>
    internal static string Quarantine(DomainPaths paths, string taskFolder) => RecordFile.Quarantine(paths, paths.Tasks, PathIn(taskFolder));
}
