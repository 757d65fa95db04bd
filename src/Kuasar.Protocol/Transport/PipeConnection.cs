using System.IO.Pipelines;

namespace Kuasar.Protocol.Transport;

/// <summary>One end of a <see cref="ConnectionPair"/>.</summary>
internal sealed class PipeConnection(Pipe input, Pipe output, string? localAddress) : Connection, IDuplexPipe
{
    public PipeReader Input => input.Reader;
    public PipeWriter Output => output.Writer;
    public override IDuplexPipe Transport => this;
    public override string? LocalAddress => localAddress;

    public override void Abort() => End(new IOException("The connection was aborted."));

    public override ValueTask DisposeAsync()
    {
        End(null);
        return default;
    }

    // Ends both directions from the writers' side: that wakes a reader and a flush in progress at either end, as closing a
    // socket would. Completing twice does nothing.
    private void End(Exception? error)
    {
        output.Writer.Complete(error);
        output.Writer.CancelPendingFlush();
        input.Writer.Complete(error);
        input.Writer.CancelPendingFlush();
    }
}
