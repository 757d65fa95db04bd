using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;

namespace Kuasar.Sandbox;

/// <content>The streams of processes that outlived a sandboxer.</content>
public sealed partial class ProcessStdio
{
    /// <summary>
    /// The streams of a process that an earlier life of the sandboxer started: what the process has, it has; what is ours is taken from
    /// where it is kept, or opened again. A client that has gone with its fifos is no error.
    /// </summary>
    internal static ProcessStdio Recover(StdioEnvironment environment, StdioAddresses addresses, string name, bool stdinClosed, bool remote = false)
    {
        var stdio = new ProcessStdio(environment, addresses, name) { _isRecovered = true };
        Try(() => stdio.RecoverStdin(StdioAddress.Parse(addresses.Stdin), stdinClosed));
        Try(() => stdio.RecoverOutput(StdioAddress.Parse(addresses.Stdout)));
        if (addresses.Terminal && !remote)
        {
            stdio.StartRelay(environment.Handles.TryFind(stdio.TerminalName));
        }
        else if (!addresses.Terminal && addresses.Stderr != addresses.Stdout)
        {
            Try(() => stdio.RecoverOutput(StdioAddress.Parse(addresses.Stderr)));
        }
        if (!remote)
        {
            stdio.ForgetWriters();
        }
        return stdio;

        static void Try(Action step)
        {
            try
            {
                step();
            }
            catch (LinuxException)
            {
                // Gone with its client, or taken away from it.
            }
        }
    }

    private void RecoverStdin(StdioAddress address, bool closed)
    {
        if (address.Scheme is not (StdioScheme.Fifo or StdioScheme.File) || !Libc.IsFifo(address.Path))
        {
            return;
        }
        if (!closed && _environment.Handles.TryFind(StdinName) is null)
        {
            _environment.Handles.Keep(StdinName, Libc.Open(address.Path, Libc.O_RDWR | Libc.O_NONBLOCK));
        }
        if (Terminal)
        {
            _relayInput = Libc.Open(address.Path, Libc.O_RDONLY | Libc.O_NONBLOCK);
        }
    }

    private void RecoverOutput(StdioAddress address)
    {
        switch (address.Scheme)
        {
            case not StdioScheme.None when Terminal && _environment.Handles.TryFind(RelayName) is { } kept:
                _relayOutput = kept;
                if (address.Scheme != StdioScheme.LogBinary && Libc.IsFifo(address.Path))
                {
                    AddOutput(address.Path, again: true);
                }
                break;
            case StdioScheme.Fifo or StdioScheme.File when Terminal:
                SetOutputs(OpenOutputAt(address), null);
                break;
            case StdioScheme.Fifo or StdioScheme.File when Libc.IsFifo(address.Path):
                AddOutput(address.Path, again: true);
                break;
        }
    }

    /// <summary>Lets go of what was recovered, as if it had not been: what is kept for the process is kept on.</summary>
    internal void Abandon()
    {
        _relay?.Dispose();
        _relayInput?.Dispose();
    }
}
