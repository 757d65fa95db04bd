using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <summary>
/// The standard streams of one process, open and ready to be handed to it. The library makes and disposes it.
/// </summary>
/// <remarks>
/// Without a terminal the process gets the client's fifo itself, opened read-write: a reader that goes away is no EPIPE, and a sandboxer
/// that dies is not missed. With one, the pty is copied by the library (<see cref="TerminalRelay"/>): it is received on
/// <see cref="ConsoleSocket"/>, as OCI runtimes send it. In a guest there are pipes in the place of fifos, whose other ends are streams that the
/// host opens (<see cref="StreamTable"/>).
/// </remarks>
public sealed partial class ProcessStdio : IAsyncDisposable
{
    private readonly StdioEnvironment _environment;
    private readonly StdioAddresses _addresses;
    private readonly string _name;
    private readonly List<OutputFifo> _outputs = [];
    private readonly Dictionary<string, string> _writers = []; // names of the writers that are kept, by their fifo's path
    private readonly List<LogBinary> _logBinaries = [];
    private ConsoleSocket? _consoleSocket;
    private TerminalRelay? _relay;
    private SafeFileHandle? _relayInput;
    private SafeFileHandle? _relayOutput;
    private readonly List<OutputPipe> _outputPipes = [];
    private InputPipe? _inputPipe;
    private bool _isRecovered;

    private ProcessStdio(StdioEnvironment environment, StdioAddresses addresses, string name)
    {
        _environment = environment;
        _addresses = addresses;
        _name = name;
        Terminal = addresses.Terminal;
    }

    /// <summary>Whether the process has a terminal. Then the three handles are null and <see cref="ConsoleSocket"/> is set.</summary>
    public bool Terminal { get; }

    /// <summary>For the process; null is /dev/null. Valid until it was started, and the library's to close.</summary>
    public SafeFileHandle? Stdin { get; private set; }

    /// <inheritdoc cref="Stdin"/>
    public SafeFileHandle? Stdout { get; private set; }

    /// <inheritdoc cref="Stdin"/>
    public SafeFileHandle? Stderr { get; private set; }

    /// <summary>Path of the unix socket on which the pty's master is expected, one message with one fd.</summary>
    public string? ConsoleSocket => _consoleSocket?.Path;

    /// <param name="environment">What all of a sandboxer's streams share.</param>
    /// <param name="addresses">The request's three strings.</param>
    /// <param name="name">Unique among living processes; names the handles that are kept.</param>
    /// <param name="container">Container and namespace, told to a logging program.</param>
    internal static async Task<ProcessStdio> OpenAsync(
        StdioEnvironment environment, StdioAddresses addresses, string name, (string Id, string Namespace) container)
    {
        var stdio = new ProcessStdio(environment, addresses, name);
        try
        {
            var stdin = StdioAddress.Parse(addresses.Stdin);
            var stdout = StdioAddress.Parse(addresses.Stdout);
            var stderr = addresses.Terminal ? default : StdioAddress.Parse(addresses.Stderr);
            stdio.OpenStdin(stdin);
            if (stdout.Scheme == StdioScheme.LogBinary)
            {
                var log = await LogBinary.StartAsync(environment, stdout, container).ConfigureAwait(false);
                stdio._logBinaries.Add(log);
                stdio.SetOutputs(log.Stdout, log.Stderr);
            }
            else
            {
                // O_APPEND makes two handles of one file as good as one. One after the other: the second may fail.
                var first = stdio.OpenOutputAt(stdout);
                stdio.SetOutputs(first, null);
                stdio.SetOutputs(first, stdio.OpenOutputAt(stderr));
            }
            if (addresses.Terminal)
            {
                stdio._consoleSocket = Kuasar.Sandbox.Stdio.ConsoleSocket.Listen(environment.ConsoleDirectory);
            }
            return stdio;
        }
        catch (LinuxException e)
        {
            await stdio.DisposeAsync().ConfigureAwait(false);
            throw new SandboxException(e.Errno == Libc.ENOENT ? SandboxError.NotFound : SandboxError.Unknown, $"stdio: {e.Message}", e);
        }
        catch
        {
            await stdio.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private void StartRelay(SafeFileHandle? master)
    {
        if (master is not null)
        {
            _relay = new TerminalRelay(_environment.Loop, master, _relayInput, _relayOutput);
        }
    }

    private void SetOutputs(SafeFileHandle? stdout, SafeFileHandle? stderr)
    {
        if (Terminal)
        {
            // Kept, as the relay is the only writer: a client would take its end for the process's.
            if (stdout is not null && _relayOutput is null)
            {
                _environment.KeepAnew(RelayName, stdout);
                _relayOutput = stdout;
            }
            stderr?.Dispose();
        }
        else
        {
            Stdout = stdout;
            Stderr = stderr;
        }
    }

    private void OpenStdin(StdioAddress address)
    {
        switch (address.Scheme)
        {
            case StdioScheme.None:
                return;
            case StdioScheme.Fifo or StdioScheme.File when Libc.IsFifo(address.Path):
                // Our own writer keeps the stream open while clients come and go; CloseIO is what ends it. It comes first, so that
                // opening the reader does not wait for a client.
                _environment.KeepAnew(StdinName, Libc.Open(address.Path, Libc.O_RDWR | Libc.O_NONBLOCK));
                break;
            case StdioScheme.LogBinary:
                throw new SandboxException(SandboxError.InvalidArgument, "stdin cannot come from a logging program");
            case StdioScheme.Stream:
                (_inputPipe, var pipe) = Streams.OpenInput(address.Path);
                SetInput(pipe);
                return;
        }
        SetInput(Libc.Open(address.Path, Libc.O_RDONLY | (Terminal ? Libc.O_NONBLOCK : 0)));
    }

    private StreamTable Streams => _environment.Streams ?? throw new SandboxException(SandboxError.InvalidArgument, "stdio by streams is for guests");

    private void SetInput(SafeFileHandle reader)
    {
        if (Terminal)
        {
            // epoll tells of it, and a read must not wait.
            Libc.SetNonBlocking(reader, true);
            _relayInput = reader;
        }
        else
        {
            Stdin = reader;
        }
    }

    private SafeFileHandle? OpenOutputAt(StdioAddress address)
    {
        switch (address.Scheme)
        {
            case StdioScheme.Fifo or StdioScheme.File when Libc.IsFifo(address.Path):
                var writer = Libc.Open(address.Path, Libc.O_RDWR | (Terminal ? Libc.O_NONBLOCK : 0));
                if (!Terminal)
                {
                    // Until the process has it: should we die before that, a client would take the end of ours for the process's.
                    _environment.KeepAnew(WriterName(_outputs.Count), Libc.Duplicate(writer));
                }
                AddOutput(address.Path, again: false);
                return writer;
            case StdioScheme.Fifo:
                return Libc.Open(address.Path, Libc.O_WRONLY | Libc.O_APPEND);
            case StdioScheme.File:
                Directory.CreateDirectory(Path.GetDirectoryName(address.Path)!);
                return Libc.Open(address.Path, Libc.O_WRONLY | Libc.O_APPEND | Libc.O_CREAT, 0x1A4 /* 0644 */);
            case StdioScheme.Stream:
                var (pipe, end) = Streams.OpenOutput(address.Path);
                _outputPipes.Add(pipe);
                // A terminal's copier must not wait in a write: it has the event loop's thread, on which the pipe is read.
                Libc.SetNonBlocking(end, Terminal);
                return end;
            default:
                return null;
        }
    }

    private void AddOutput(string path, bool again)
    {
        _writers[path] = WriterName(_outputs.Count);
        _outputs.Add(new OutputFifo(path, _environment, $"{_name}/out{_outputs.Count}", again));
    }

    private string StdinName => _name + "/stdin";

    private string WriterName(int output) => $"{_name}/writer{output}";

    private string TerminalName => _name + "/tty";

    private string RelayName => _name + "/tty-out";

    /// <summary>After the process was made: takes its terminal, and lets go of the ends that are now the process's own.</summary>
    /// <param name="remote">The process is not this host's: its author has the streams that it wants.</param>
    /// <param name="ended">When the process ends.</param>
    /// <param name="cancellationToken">Ends the wait for a terminal.</param>
    internal async Task AttachAsync(bool remote, Task ended, CancellationToken cancellationToken)
    {
        if (remote)
        {
            CloseOwnEnds();
            _consoleSocket?.Dispose();
            _consoleSocket = null;
            return;
        }
        CloseChildEnds();
        if (_consoleSocket is null)
        {
            return;
        }
        var master = await _consoleSocket.ReceiveAsync(ended, _environment.Time, cancellationToken).ConfigureAwait(false);
        _consoleSocket.Dispose();
        _consoleSocket = null;
        _environment.KeepAnew(TerminalName, master);
        StartRelay(master);
    }

    /// <summary>Closes our writer of stdin; the process reads the end when the client has closed its own.</summary>
    internal void CloseStdin()
    {
        _environment.Handles.Forget(StdinName);
        _inputPipe?.CloseAfterClient();
    }

    /// <summary>Sets the terminal's size; nothing happens without one.</summary>
    internal void Resize(uint columns, uint rows) => _relay?.Resize((ushort)columns, (ushort)rows);

    /// <summary>
    /// After the process has ended: waits until its output is where the client can read it, at most so long. Descendants that hold the
    /// terminal open do not count for longer than that.
    /// </summary>
    internal async Task DrainAsync(TimeSpan limit)
    {
        if (_relay is not null)
        {
            await _relay.Ended.EndsWithinAsync(limit, _environment.Time).ConfigureAwait(false);
        }
        if (_remote.OfType<ClientOutput>().Select(output => output.Closed).ToList() is { Count: > 0 } closed)
        {
            await Task.WhenAll(closed).EndsWithinAsync(limit, _environment.Time).ConfigureAwait(false);
        }
        if (Terminal)
        {
            // Also one that was lost with an earlier life: its client sees the end.
            CloseTerminal();
        }
        ForgetWriters();
        _outputs.ForEach(output => output.KeepUntilRead());
        await Task.WhenAll(_outputPipes.Select(pipe => pipe.DrainAsync(limit, _environment.Time))).ConfigureAwait(false);
    }

    private void CloseTerminal()
    {
        _relay?.Dispose();
        _relayInput?.Dispose();
        _environment.Handles.Forget(RelayName);
        _environment.Handles.Forget(TerminalName);
    }

    private void CloseChildEnds()
    {
        CloseOwnEnds();
        ForgetWriters();
    }

    private void CloseOwnEnds()
    {
        Stdin?.Dispose();
        Stdout?.Dispose();
        Stderr?.Dispose();
        Stdin = Stdout = Stderr = null;
    }

    private void ForgetWriters()
    {
        for (var output = 0; !Terminal && output < _outputs.Count; output++)
        {
            _environment.Handles.Forget(WriterName(output));
        }
    }

    /// <summary>Closes everything; safe to repeat.</summary>
    public async ValueTask DisposeAsync()
    {
        CloseChildEnds();
        CloseStdin();
        CloseTerminal();
        _consoleSocket?.Dispose();
        _outputs.ForEach(output => output.Dispose());
        CloseRemote();
        _outputPipes.ForEach(pipe => pipe.Dispose());
        _inputPipe?.Dispose();
        foreach (var log in _logBinaries)
        {
            await log.DisposeAsync().ConfigureAwait(false);
        }
        _logBinaries.Clear();
    }
}
