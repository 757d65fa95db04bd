namespace Kuasar.Sandbox;

/// <summary>A running process of a container: its init or an exec. The library asks; the author's sandbox type answers.</summary>
/// <remarks>
/// The library calls the methods of one process one at a time, but <see cref="SignalAsync"/> may come while the container's own
/// methods run. It keeps state, exit code, stdio, events and waiting itself.
/// </remarks>
public abstract class ContainerProcess
{
    /// <summary>The pid that containerd shows; a pid of this host where there is one, never 0.</summary>
    public abstract int ProcessId { get; }

    /// <summary>Completes once, with success, when the process has ended.</summary>
    public abstract Task<ExitStatus> Exited { get; }

    /// <summary>Sends a Linux signal number.</summary>
    /// <exception cref="SandboxException">NotFound: it has finished.</exception>
    public abstract Task SignalAsync(int signal, CancellationToken cancellationToken);

    /// <summary>The client's terminal has another size; only where the container <see cref="Container.IsRemote"/>, else the library sees to it.</summary>
    public virtual Task ResizeAsync(uint columns, uint rows, CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Frees what the process still holds. Called once, after it has ended; for an init also when it never started, or, with force
    /// by the library, to get rid of it: then it must end it first.
    /// </summary>
    public virtual Task DeleteAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
