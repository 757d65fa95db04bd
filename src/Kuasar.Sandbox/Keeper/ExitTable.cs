using Kuasar.Linux;

namespace Kuasar.Sandbox.Keeper;

/// <summary>How a process ended.</summary>
/// <param name="Status">As a shell has it: code, or 128 + signal.</param>
/// <param name="UnixMilliseconds">When it was reaped.</param>
internal readonly record struct KeptExit(int Status, long UnixMilliseconds);

/// <summary>
/// How the children of the keeper ended, which are all orphans of the domain: by pid and start time, since a pid may come again. An end is
/// kept until it is released when a sandboxer watches it; of those that nobody asked for, the last <see cref="UnwatchedLimit"/>.
/// </summary>
internal sealed class ExitTable
{
    /// <summary>Exits that nobody asked for yet: orphans of containers without a pid namespace, mostly.</summary>
    internal const int UnwatchedLimit = 8192;

    private readonly Dictionary<(int Pid, ulong Start), KeptExit> _exits = [];
    private readonly Dictionary<int, ulong> _latest = [];
    private readonly HashSet<(int Pid, ulong Start)> _watched = [];
    private readonly Queue<(int Pid, ulong Start)> _unwatched = new();

    internal int Count => _exits.Count;

    internal void Watch(int pid, ulong start) => _watched.Add((pid, start));

    internal void Add(int pid, ulong start, KeptExit exit)
    {
        _exits[(pid, start)] = exit;
        _latest[pid] = start;
        _unwatched.Enqueue((pid, start));
        while (_unwatched.Count > UnwatchedLimit)
        {
            var oldest = _unwatched.Dequeue();
            if (!_watched.Contains(oldest))
            {
                Remove(oldest);
            }
        }
    }

    /// <param name="pid">The pid.</param>
    /// <param name="start">0 for whoever had it last.</param>
    internal KeptExit? Find(int pid, ulong start) =>
        (start != 0 || _latest.TryGetValue(pid, out start)) && _exits.TryGetValue((pid, start), out var exit) ? exit : null;

    internal void Release(int pid, ulong start)
    {
        if (start != 0 || _latest.TryGetValue(pid, out start))
        {
            _watched.Remove((pid, start));
            Remove((pid, start));
        }
    }

    /// <summary>A sandboxer that takes over asks for what it knows; what its predecessor alone knew is nobody's.</summary>
    internal void ForgetWatchers()
    {
        foreach (var key in _watched.Where(_exits.ContainsKey))
        {
            _unwatched.Enqueue(key);
        }
        _watched.Clear();
    }

    private void Remove((int Pid, ulong Start) key)
    {
        _exits.Remove(key);
        if (_latest.TryGetValue(key.Pid, out var start) && start == key.Start)
        {
            _latest.Remove(key.Pid);
        }
    }

    /// <summary>Reaps every child that is dead; tells each, with its start time, which only a zombie still has.</summary>
    internal void ReapAll(Action<int> reaped)
    {
        int pid;
        while ((pid = Libc.PeekDeadChild()) > 0)
        {
            var start = ProcessIdentity.Of(pid)?.StartTime ?? 0;
            if (Libc.TryReap(pid) is { } status and not Libc.NotOurs)
            {
                Add(pid, start, new KeptExit(status, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds()));
                reaped(pid);
            }
        }
    }

    internal void Write(PacketWriter state)
    {
        state.Number((uint)_watched.Count);
        foreach (var (pid, start) in _watched)
        {
            state.Number((uint)pid).Long(start);
        }
        state.Number((uint)_exits.Count);
        foreach (var ((pid, start), exit) in _exits)
        {
            state.Number((uint)pid).Long(start).Number((uint)exit.Status).Long((ulong)exit.UnixMilliseconds);
        }
    }

    internal void Read(ref PacketReader state)
    {
        for (var left = state.Number(); left > 0; left--)
        {
            Watch((int)state.Number(), state.Long());
        }
        for (var left = state.Number(); left > 0; left--)
        {
            Add((int)state.Number(), state.Long(), new KeptExit((int)state.Number(), (long)state.Long()));
        }
    }
}
