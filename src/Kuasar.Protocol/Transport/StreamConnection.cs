using System.IO.Pipelines;

namespace Kuasar.Protocol.Transport;

/// <summary>
/// A connection over a stream. Zero-byte reads: an idle connection holds no buffer, and a busy one takes 64 KiB from the pool
/// only while bytes are there.
/// </summary>
internal sealed class StreamConnection : Connection, IDuplexPipe
{
    private const int ReadSize = 64 * 1024;
    private static readonly StreamPipeReaderOptions ReaderOptions =
        new(bufferSize: ReadSize, minimumReadSize: ReadSize / 8, leaveOpen: true, useZeroByteReads: true);
    private static readonly StreamPipeWriterOptions WriterOptions = new(leaveOpen: true);

    private readonly Stream _stream;

    internal StreamConnection(Stream stream, PeerCredentials? peer, string? localAddress)
    {
        _stream = stream;
        Peer = peer;
        LocalAddress = localAddress;
        Input = PipeReader.Create(stream, ReaderOptions);
        Output = PipeWriter.Create(stream, WriterOptions);
    }

    public PipeReader Input { get; }
    public PipeWriter Output { get; }
    public override IDuplexPipe Transport => this;
    public override PeerCredentials? Peer { get; }
    public override string? LocalAddress { get; }

    public override void Abort()
    {
        try
        {
            _stream.Dispose();
        }
        catch (IOException)
        {
            // A stream may flush when disposed; an aborted one has nobody to flush to.
        }
    }

    // The pipe halves are not completed: their loops may still be in a call, and without a stream they hold nothing.
    public override ValueTask DisposeAsync() => _stream.DisposeAsync();
}
