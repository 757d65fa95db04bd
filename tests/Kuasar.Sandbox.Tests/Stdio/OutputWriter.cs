using System.Globalization;
using System.Text;
using Kuasar.Linux;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Stdio;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kuasar.Sandbox.Tests.Stdio;

/// <summary>This program as a sandboxer that gives a client numbered lines, on from where an earlier one was killed, until it is killed.</summary>
internal static class OutputWriter
{
    internal const string Command = "output-writer";

    private const int LineLength = 8;

    /// <summary>Bytes of the numbered lines.</summary>
    internal static byte[] Lines(long position, int count)
    {
        var first = position / LineLength;
        var lines = Enumerable.Range(0, (count / LineLength) + 2).Select(i => (first + i).ToString("D7", CultureInfo.InvariantCulture) + "\n");
        return Encoding.ASCII.GetBytes(string.Concat(lines)).AsSpan((int)(position % LineLength), count).ToArray();
    }

    internal static async Task<int> RunAsync(string note, string stage, string fifo)
    {
        using var loop = new EventLoop(NullLogger.Instance);
        var kept = new OutputStage(Libc.Open(note, Libc.O_RDWR), Libc.Open(stage, Libc.O_RDWR | Libc.O_NONBLOCK));
        await using var output = new ClientOutput(loop, Libc.Open(fifo, Libc.O_RDWR | Libc.O_NONBLOCK), kept);
        for (var i = 0; ; i++)
        {
            await output.WriteAsync(Lines(output.Position, i % 7 == 0 ? 5000 : 13));
        }
    }
}
