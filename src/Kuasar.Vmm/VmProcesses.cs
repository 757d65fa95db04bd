using Kuasar.Vmm.Contracts;

namespace Kuasar.Vmm;

/// <summary>
/// Who starts the processes of machines, and hears of their ends. <see cref="OwnVmProcesses"/> has them as children of this process; a sandboxer puts
/// its own in its place, so that they are reaped where it reaps, and known to its keeper.
/// </summary>
public abstract class VmProcesses
{
    /// <summary>Starts a program in a session of its own, with nothing inherited but its log and its handles.</summary>
    /// <returns>The caller disposes it; that does not end the process.</returns>
    /// <exception cref="IOException">It could not be started.</exception>
    public abstract VmProcess Start(VmCommand command);

    /// <summary>A process of an earlier life, alive or ended; never a stranger that has its pid now.</summary>
    /// <param name="process">As <see cref="VmRecord"/> has it.</param>
    /// <returns>The caller disposes it.</returns>
    public abstract VmProcess Adopt(Protocol.Contracts.Control.ProcessRecord process);
}

/// <summary>A program to start.</summary>
/// <param name="Path">Absolute.</param>
/// <param name="Arguments">Without its name.</param>
public sealed record VmCommand(string Path, IReadOnlyList<string> Arguments)
{
    /// <summary>Where standard output and error go, added to: a file, since whoever started it may die before it.</summary>
    public required string LogFile { get; init; }

    /// <summary>Its working directory; null: this process's.</summary>
    public string? WorkingDirectory { get; init; }
}

/// <summary>A process of a machine, held so that a signal reaches it or nobody.</summary>
public abstract class VmProcess : IDisposable
{
    /// <summary>Its pid.</summary>
    public abstract int ProcessId { get; }

    /// <summary>
    /// Completes once when it has ended, with its status as a shell has it: its code, or 128 + the signal; 255 where nobody knows.
    /// </summary>
    public abstract Task<int> Exited { get; }

    /// <summary>Sends a signal; false when it has ended.</summary>
    public abstract bool Signal(int signal);

    /// <summary>Lets go of it; one that lives is left alone.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <inheritdoc cref="Dispose()"/>
    protected virtual void Dispose(bool disposing)
    {
    }
}
