using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Stdio;

/// <summary>What a client writes for a process of elsewhere.</summary>
internal sealed class ClientInput(EventLoop loop, SafeFileHandle handle) : ClientStream(loop, handle)
{
    public override bool CanRead => true;

    public override bool CanWrite => false;

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            var read = Read();
            if (read == 0 || await DoneAsync("read", read, EventLoop.In, cancellationToken).ConfigureAwait(false) > 0)
            {
                return read;
            }
        }

        int Read()
        {
            lock (Sync)
            {
                return Libc.Read(Handle, buffer.Span);
            }
        }
    }
}
