using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <content>For processes that are not this host's: the client's ends as streams, which the author copies.</content>
public sealed partial class ProcessStdio
{
    private const string InputName = "stdin", OutputName = "stdout", ErrorName = "stderr";

    private readonly List<ClientStream> _remote = [];

    /// <summary>
    /// What the client writes for the process; null where there is no stdin. Its end is the client's, or CloseIO's. The author disposes it when the
    /// process has ended. Its Position is how much was read of it, in all lives of the sandboxer. An author who is told how much the process has taken
    /// sets it to that, at most 128 KiB back: what was under way when a sandboxer was killed, or a connection lost, is read again.
    /// </summary>
    /// <remarks>The input of a client that has gone with its fifo is at its end.</remarks>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public Stream? OpenInput()
    {
        var address = StdioAddress.Parse(_addresses.Stdin);
        if (address.Scheme == StdioScheme.None)
        {
            return null;
        }
        var handle = (Terminal ? _relayInput : Stdin) is { } open
            ? Libc.Duplicate(open)
            : OpenAgain(() => Libc.Open(address.Path, Libc.O_RDONLY | Libc.O_NONBLOCK));
        return Remember(new ClientInput(_environment.Loop, NonBlocking(handle), new InputStage(FindOrKeep(StageName(InputName), InputStage.NewFile))));
    }

    /// <summary>
    /// Where the process's output is to be written, a terminal's too; null where nobody wants it. The author disposes it when there is no
    /// more: only then the client may see the end. Its Position is how much the client has been given, in all lives of the sandboxer: what is
    /// written is to follow that. It may be less where that went with a keeper, never more.
    /// </summary>
    /// <remarks>A client that has gone with its fifo takes everything.</remarks>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public Stream? OpenOutput() => OpenRemote(Terminal ? _relayOutput : Stdout, _addresses.Stdout, OutputName);

    /// <inheritdoc cref="OpenOutput()"/>
    /// <remarks>Null with a terminal, which has one output.</remarks>
    public Stream? OpenError() => Terminal ? null : OpenRemote(Stderr, _addresses.Stderr, ErrorName);

    private ClientOutput? OpenRemote(SafeFileHandle? open, string text, string name)
    {
        var address = StdioAddress.Parse(text);
        if (open is null && address.Scheme is StdioScheme.None or StdioScheme.LogBinary)
        {
            return null;
        }
        // What an earlier life has kept, so that the client did not see the end with it.
        open ??= _writers.TryGetValue(address.Path, out var kept) ? _environment.Handles.TryFind(kept) : null;
        var handle = NonBlocking(open is not null ? Libc.Duplicate(open) : OpenAgain(() => OpenOutputAt(address)!));
        var stage = new OutputStage(FindOrKeep(NoteName(name), OutputStage.NewNote), FindOrKeep(StageName(name), OutputStage.NewPipe));
        return Remember(new ClientOutput(_environment.Loop, handle, stage));
    }

    private SafeFileHandle OpenAgain(Func<SafeFileHandle> open)
    {
        try
        {
            return open();
        }
        catch (LinuxException e) when (_isRecovered && e.Errno == Libc.ENOENT)
        {
            return Libc.Open("/dev/null", Libc.O_RDWR);
        }
    }

    private T Remember<T>(T stream) where T : ClientStream
    {
        _remote.Add(stream);
        return stream;
    }

    private string NoteName(string stream) => $"{_name}/{stream}-note";

    private string StageName(string stream) => $"{_name}/{stream}-stage";

    /// <returns>A copy, the caller's.</returns>
    private SafeFileHandle FindOrKeep(string name, Func<SafeFileHandle> make)
    {
        var handle = _environment.Handles.TryFind(name);
        if (handle is null)
        {
            _environment.Handles.Keep(name, handle = make());
        }
        return Libc.Duplicate(handle);
    }

    private static SafeFileHandle NonBlocking(SafeFileHandle handle)
    {
        Libc.SetNonBlocking(handle, true);
        return handle;
    }

    private void CloseRemote()
    {
        _remote.ForEach(stream => stream.Dispose());
        foreach (var name in (string[])[InputName, OutputName, ErrorName])
        {
            _environment.Handles.Forget(NoteName(name));
            _environment.Handles.Forget(StageName(name));
        }
    }
}
