using System.IO.Pipelines;

namespace Kuasar.Protocol.Transport;

/// <summary>A connection over somebody else's pipe.</summary>
internal sealed class DuplexPipeConnection(IDuplexPipe pipe, string? localAddress) : Connection, IDuplexPipe
{
    private readonly LastingReader _input = new(pipe.Input);
    private readonly LastingWriter _output = new(pipe.Output);

    public PipeReader Input => _input;
    public PipeWriter Output => _output;
    public override IDuplexPipe Transport => this;
    public override string? LocalAddress => localAddress;

    public override void Abort() => End(new IOException("The connection was aborted."));

    public override ValueTask DisposeAsync()
    {
        End(null);
        return default;
    }

    private void End(Exception? error)
    {
        _output.Complete(error);
        _input.Complete(error);
    }
}
