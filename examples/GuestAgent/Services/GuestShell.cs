using System.Text;
using Google.Protobuf;
using Kuasar.Linux;
using Kuasar.Sandbox;
using Microsoft.Win32.SafeHandles;

namespace GuestAgent.Services;

/// <summary>Runs command lines for whoever administers the guest, by the shell that its image has.</summary>
internal static class GuestShell
{
    private const int MaxOutput = 1 << 20, Kill = 9;

    private static readonly string[] s_shells = ["/bin/bash", "/bin/sh"];

    /// <exception cref="SandboxException">Unimplemented: the image has no shell. Unknown: it ended with another code than 0.</exception>
    internal static async Task<string> RunAsync(string command, ReadOnlyMemory<byte> input, HostProcesses processes, CancellationToken cancellationToken)
    {
        var shell = s_shells.FirstOrDefault(File.Exists) ?? throw new SandboxException(SandboxError.Unimplemented, "the guest's image has no shell");
        var (stdinRead, stdinWrite) = Libc.Pipe();
        var (stdoutRead, stdoutWrite) = Libc.Pipe();
        var (stderrRead, stderrWrite) = Libc.Pipe();
        HostProcess process;
        using (stdinRead)
        using (stdoutWrite)
        using (stderrWrite)
        {
            process = processes.Start(shell, ["-c", command], stdinRead, stdoutWrite, stderrWrite, "/");
        }
        using (process)
        using (cancellationToken.Register(() => process.Signal(Kill)))
        {
            var output = ReadAsync(stdoutRead, "stdout");
            var error = ReadAsync(stderrRead, "stderr");
            await Task.Run(() => Write(stdinWrite, input.Span), CancellationToken.None);
            var code = (await process.Exited).Code;
            // A child that it has left may have the pipes: then the caller's deadline ends the wait.
            await Task.WhenAll(output, error).WaitAsync(cancellationToken);
            return code == 0
                ? await output
                : throw new SandboxException(SandboxError.Unknown, $"the command ended with code {code}: {(await error).Trim()}");
        }
    }

    private static Task<string> ReadAsync(SafeFileHandle pipe, string name) => Task.Run(() =>
    {
        using (pipe)
        {
            return Encoding.UTF8.GetString(Libc.ReadToEnd(pipe, MaxOutput, name));
        }
    });

    private static void Write(SafeFileHandle pipe, ReadOnlySpan<byte> input)
    {
        using (pipe)
        {
            try
            {
                Libc.WriteAll(pipe, input, "stdin");
            }
            catch (LinuxException)
            {
                // It need not read.
            }
        }
    }
}
