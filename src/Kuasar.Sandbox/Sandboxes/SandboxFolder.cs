using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol.Contracts.Control;

namespace Kuasar.Sandbox.Sandboxes;

/// <summary>A sandbox's folder and the record in it: what is written down before it is done, and undone by it. Safe for concurrent use.</summary>
internal sealed class SandboxFolder(string path, SandboxRecord record)
{
    /// <summary>What is killed has this long to be gone.</summary>
    private static readonly TimeSpan EndLimit = TimeSpan.FromSeconds(2);

    private readonly Lock _lock = new();
    private bool _opened;
    private bool _written;
    private bool _released;

    internal string Path => path;

    internal DateTimeOffset CreatedAt { get; } = record.CreatedAt.ToDateTimeOffset();

    /// <summary>The author's own.</summary>
    internal Google.Protobuf.WellKnownTypes.Any? Saved => record.Saved;

    /// <summary>What an earlier life recorded.</summary>
    internal IReadOnlyList<ProcessRecord> Processes => record.Processes;

    /// <summary>Takes over what is there.</summary>
    internal void Reopen() => (_opened, _written) = (true, File.Exists(SandboxRecordFile.PathIn(path)));

    /// <summary>Makes the folder. An implied sandbox has a record only when it has something to write down: most hold nothing.</summary>
    internal void Open()
    {
        _opened = true;
        Libc.CreateFolders(path, DomainPaths.FolderMode);
        if (!record.Implied)
        {
            Write();
        }
    }

    /// <summary>Notes where the sandbox is in its life, before it goes there.</summary>
    internal void Note(Action<SandboxRecord> change)
    {
        lock (_lock)
        {
            change(record);
            if (_written || !record.Implied)
            {
                Write();
            }
        }
    }

    /// <summary>Notes something that a later life needs.</summary>
    internal void Keep(Action<SandboxRecord> change)
    {
        lock (_lock)
        {
            change(record);
            Write();
        }
    }

    /// <summary>Notes something that must be undone. Once only.</summary>
    internal void Add<T>(Func<SandboxRecord, ICollection<T>> list, T item)
    {
        lock (_lock)
        {
            if (list(record) is var items && !items.Contains(item))
            {
                items.Add(item);
                Write();
            }
        }
    }

    /// <summary>A short path to the folder, which goes with it.</summary>
    /// <exception cref="IOException">The link could not be made, or this name is another sandbox's.</exception>
    internal string Link()
    {
        lock (_lock)
        {
            if (!_written)
            {
                // Without a record, nobody would know of the link.
                Write();
            }
            var link = DomainPaths.LinkTo(path);
            var target = new FileInfo(link).LinkTarget;
            if (target is not null && target != path)
            {
                throw new IOException($"{link} leads to {target}, not to {path}");
            }
            if (target is null)
            {
                Libc.CreateFolders(System.IO.Path.GetDirectoryName(link)!, DomainPaths.FolderMode);
                File.CreateSymbolicLink(link, path);
            }
            return link;
        }
    }

    /// <summary>Undoes what is recorded and removes the folder. May be repeated.</summary>
    /// <exception cref="IOException">Something is left; the record is kept.</exception>
    internal async Task ReleaseAsync()
    {
        if (!_opened)
        {
            // What lies there is an earlier life's.
            return;
        }
        var problems = new List<string>();
        // Whoever still writes something down has done it before, or is refused.
        SandboxRecord last;
        lock (_lock)
        {
            _released = true;
            last = record.Clone();
        }
        if (!await Task.Run(() => ForcedRemoval.End(last, path, EndLimit, problems)).ConfigureAwait(false))
        {
            throw new IOException(string.Join("; ", problems));
        }
        SandboxRecordFile.RemoveWithFolder(path);
    }

    private void Write()
    {
        if (_released)
        {
            throw new IOException("the sandbox has been removed");
        }
        SandboxRecordFile.Write(path, record);
        _written = true;
    }
}
