using System.Globalization;
using System.Text;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox.Tests.Stdio;

/// <summary>This program as a sandboxer that copies between a client and a process of elsewhere, on from where an earlier one was killed, until it is killed.</summary>
internal static class Copier
{
    internal const string Output = "output-copier", Input = "input-copier";

    private const int LineLength = 8;

    /// <summary>Bytes of the numbered lines that are copied.</summary>
    internal static byte[] Lines(long position, int count)
    {
        var first = position / LineLength;
        var lines = Enumerable.Range(0, (count / LineLength) + 2).Select(i => (first + i).ToString("D7", CultureInfo.InvariantCulture) + "\n");
        return Encoding.ASCII.GetBytes(string.Concat(lines)).AsSpan((int)(position % LineLength), count).ToArray();
    }

    /// <summary>A process that writes numbered lines.</summary>
    internal static async Task<int> WriteAsync(string note, string stage, string fifo)
    {
        using var loop = new EventLoop(NullLogger.Instance);
        await using var client = new ClientOutput(loop, Open(fifo), new OutputStage(Open(note), Open(stage)));
        for (var i = 0; ; i++)
        {
            await client.WriteAsync(Lines(client.Position, i % 7 == 0 ? 5000 : 13));
        }
    }

    /// <summary>A process that takes what it reads to a file. What it has is the file's length.</summary>
    internal static async Task<int> ReadAsync(string stage, string fifo, string process)
    {
        using var loop = new EventLoop(NullLogger.Instance);
        // What is kept is the open file and not only its content: it comes as the keeper sends it.
        await using var client = new ClientInput(loop, Open(fifo), new InputStage(new SafeFileHandle(int.Parse(stage, CultureInfo.InvariantCulture), ownsHandle: true)));
        await using var file = new FileStream(process, new FileStreamOptions { Mode = FileMode.Append, Access = FileAccess.Write, BufferSize = 0 });
        client.Position = file.Length;
        var buffer = new byte[5000];
        while (await client.ReadAsync(buffer) is > 0 and var count)
        {
            await file.WriteAsync(buffer.AsMemory(0, count));
        }
        return 0;
    }

    private static SafeFileHandle Open(string path) => Libc.Open(path, Libc.O_RDWR | Libc.O_NONBLOCK);
}
