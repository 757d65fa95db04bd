using System.Text;
using Google.Protobuf;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Shim.Hosting.Internal;

/// <summary>The three streams without System.Console, which costs a shim a third of its time.</summary>
internal static class StandardStreams
{
    private const int InputLimit = 4 << 20;

    /// <summary>All of stdin; nothing when it is closed or someone's terminal.</summary>
    internal static byte[] ReadInput()
    {
        using var input = new SafeFileHandle(0, ownsHandle: false);
        if (Libc.IsTerminal(input))
        {
            return [];
        }
        try
        {
            return Libc.ReadToEnd(input, InputLimit, "stdin");
        }
        catch (LinuxException e) when (e.Errno == EBADF)
        {
            return [];
        }
    }

    internal static void WriteOutput(string text) => WriteOutput(Encoding.UTF8.GetBytes(text));

    internal static void WriteOutput(IMessage message) => WriteOutput(message.ToByteArray());

    internal static void WriteOutput(ReadOnlySpan<byte> bytes) => Write(1, bytes, "stdout");

    /// <summary>One line, whatever the message holds.</summary>
    internal static void WriteError(string shim, string message)
    {
        try
        {
            Write(2, Encoding.UTF8.GetBytes($"{shim}: {Printable(message)}\n"), "stderr");
        }
        catch (LinuxException)
        {
            // Nowhere is left to say so; the exit code does.
        }
    }

    internal static string Printable(string text) => string.Create(text.Length, text, static (span, text) =>
    {
        for (var i = 0; i < span.Length; i++)
        {
            span[i] = char.IsControl(text[i]) ? ' ' : text[i];
        }
    });

    private const int EBADF = 9;

    private static void Write(int fd, ReadOnlySpan<byte> bytes, string name)
    {
        using var handle = new SafeFileHandle(fd, ownsHandle: false);
        Libc.WriteAll(handle, bytes, name);
    }
}
