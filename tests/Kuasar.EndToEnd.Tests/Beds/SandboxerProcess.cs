using System.Diagnostics;
using System.Net.Sockets;

namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>One life of a sandboxer.</summary>
internal sealed class SandboxerProcess
{
    private readonly Process _process;

    private SandboxerProcess(Process process, string runDirectory)
    {
        _process = process;
        RunDirectory = runDirectory;
    }

    internal string RunDirectory { get; }

    /// <summary>What was started: the keeper, where there is one.</summary>
    internal int ProcessId => _process.Id;

    internal string ControlSocket => Path.Combine(RunDirectory, "control.sock");

    internal static async Task<SandboxerProcess> StartAsync(string program, string runDirectory, string log, params string[] more)
    {
        string[] arguments = ["-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", log,
            program, "--run-dir", runDirectory, .. more];
        var process = Process.Start(new ProcessStartInfo("/bin/sh", arguments))!;
        var sandboxer = new SandboxerProcess(process, runDirectory);
        try
        {
            await Within.UntilAsync(() => process.HasExited || Listens(sandboxer.ControlSocket), what: "the sandboxer listens");
            return process.HasExited ? throw new InvalidOperationException($"the sandboxer ended at once, exit code {process.ExitCode}") : sandboxer;
        }
        catch (Exception e) when (e is InvalidOperationException or TimeoutException)
        {
            await sandboxer.KillAsync();
            throw new InvalidOperationException($"{e.Message}\n{LogTail.Of(log, 30)}", e);
        }
    }

    /// <summary>Asks it to end, as a service manager does; false when it had to be killed.</summary>
    internal async Task<bool> StopAsync()
    {
        Libc.Signal(_process.Id, Libc.SIGTERM);
        try
        {
            await _process.WaitForExitAsync().BoundAsync(TimeSpan.FromSeconds(15));
            return true;
        }
        catch (TimeoutException)
        {
            await KillAsync();
            return false;
        }
    }

    internal async Task KillAsync()
    {
        if (!_process.HasExited)
        {
            Libc.Signal(_process.Id, Libc.SIGKILL);
        }
        await _process.WaitForExitAsync().BoundAsync();
    }

    private static bool Listens(string path)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
