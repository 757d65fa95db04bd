using Kuasar.Linux;
using Kuasar.Sandbox.Stdio;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <content>For processes that are not this host's: the client's ends as streams, which the author copies.</content>
public sealed partial class ProcessStdio
{
    private readonly List<HandleStream> _remote = [];

    /// <summary>
    /// What the client writes for the process; null where there is no stdin. Its end is the client's, or CloseIO's. Where an earlier life of
    /// the sandboxer has read, the next reads on. The author disposes it when the process has ended.
    /// </summary>
    /// <exception cref="IOException">It cannot be opened again: the client has gone.</exception>
    public Stream? OpenInput()
    {
        var address = StdioAddress.Parse(_addresses.Stdin);
        return address.Scheme == StdioScheme.None ? null
            : Wrap((Terminal ? _relayInput : Stdin) is { } open ? Libc.Duplicate(open) : Libc.Open(address.Path, Libc.O_RDONLY | Libc.O_NONBLOCK), null);
    }

    /// <summary>
    /// Where the process's output is to be written, a terminal's too; null where nobody wants it. The author disposes it when there is no
    /// more: only then the client may see the end. Its Position is how much the client has been given, in all lives of the sandboxer: what is
    /// written is to follow that. It may be less where that went with a keeper, never more.
    /// </summary>
    /// <exception cref="IOException">It cannot be opened again: the client has gone.</exception>
    public Stream? OpenOutput() => OpenRemote(Terminal ? _relayOutput : Stdout, _addresses.Stdout, StdoutCountName);

    /// <inheritdoc cref="OpenOutput()"/>
    /// <remarks>Null with a terminal, which has one output.</remarks>
    public Stream? OpenError() => Terminal ? null : OpenRemote(Stderr, _addresses.Stderr, StderrCountName);

    private HandleStream? OpenRemote(SafeFileHandle? open, string text, string countName)
    {
        var address = StdioAddress.Parse(text);
        if (open is null && address.Scheme is StdioScheme.None or StdioScheme.LogBinary)
        {
            return null;
        }
        // What an earlier life has kept, so that the client did not see the end with it.
        open ??= _writers.TryGetValue(address.Path, out var name) ? _environment.Handles.TryFind(name) : null;
        return Wrap(open is not null ? Libc.Duplicate(open) : OpenOutputAt(address)!, CountNamed(countName));
    }

    private string StdoutCountName => _name + "/stdout-count";

    private string StderrCountName => _name + "/stderr-count";

    private OutputCount CountNamed(string name)
    {
        var file = _environment.Handles.TryFind(name);
        if (file is null)
        {
            _environment.Handles.Keep(name, file = OutputCount.NewFile());
        }
        return new OutputCount(Libc.Duplicate(file));
    }

    private void CloseRemote()
    {
        _remote.ForEach(stream => stream.Dispose());
        _environment.Handles.Forget(StdoutCountName);
        _environment.Handles.Forget(StderrCountName);
    }

    /// <param name="handle">Owned from here on.</param>
    /// <param name="count">Null for input.</param>
    private HandleStream Wrap(SafeFileHandle handle, OutputCount? count)
    {
        Libc.SetNonBlocking(handle, true);
        var stream = new HandleStream(_environment.Loop, handle) { Count = count };
        _remote.Add(stream);
        return stream;
    }
}
