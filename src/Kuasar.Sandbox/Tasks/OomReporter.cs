namespace Kuasar.Sandbox.Tasks;

/// <summary>Reports that the kernel killed for want of memory, before the exit that it caused is reported.</summary>
internal sealed class OomReporter(TaskContext context, TaskKey key, Cgroup? cgroup, TaskResources resources)
{
    private readonly Lock _lock = new();
    private IDisposable? _watch;
    private long _reported = resources.OomKills;
    private bool _stopped;

    internal void Watch()
    {
        lock (_lock)
        {
            if (cgroup is null || _stopped)
            {
                return;
            }
            try
            {
                _watch ??= cgroup.WatchOom(context.Stdio.Loop, Report);
            }
            catch (IOException)
            {
                // No memory controller: then there is no such kill either.
            }
        }
    }

    private void Report()
    {
        lock (_lock)
        {
            if (!_stopped)
            {
                ReportNew();
            }
        }
    }

    /// <summary>Reports what the watch has not told yet, and ends it.</summary>
    internal void Stop()
    {
        lock (_lock)
        {
            if (_stopped)
            {
                return;
            }
            _stopped = true;
            _watch?.Dispose();
            try
            {
                if (cgroup is not null)
                {
                    ReportNew();
                }
            }
            catch (IOException)
            {
                // The cgroup is going away, and an exit waits to be told.
            }
        }
    }

    private void ReportNew()
    {
        var kills = cgroup!.OomKills;
        if (kills > _reported)
        {
            _reported = kills;
            resources.NoteOutcome(record => record.OomKills = (ulong)kills);
            context.Events.OutOfMemory(key);
        }
    }
}
