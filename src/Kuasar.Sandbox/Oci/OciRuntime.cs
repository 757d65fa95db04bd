using System.Buffers.Text;
using System.Globalization;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Sandbox.Oci;
using Kuasar.Sandbox.Processes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Sandbox;

/// <summary>
/// Drives an OCI runtime by its command line. Errors are what the runtime wrote to its JSON log, not its exit code. Thread-safe; calls for
/// one container are the caller's to order.
/// </summary>
public sealed class OciRuntime
{
    private const int MaxOutput = 4 << 20;

    private readonly OciRuntimeOptions _options;
    private readonly SandboxerServices _services;
    private readonly string _path;
    private long _lastFile;

    /// <summary>A driver; nothing is run yet.</summary>
    /// <exception cref="SandboxException">NotFound: there is no such binary.</exception>
    public OciRuntime(OciRuntimeOptions options, SandboxerServices services)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(services);
        _options = options;
        _services = services;
        _path = Find(options.Path);
        Libc.CreateFolders(options.Root, DomainPaths.FolderMode);
    }

    /// <summary>Absolute path of the binary.</summary>
    public string Path => _path;

    /// <summary>The options it was made with.</summary>
    public OciRuntimeOptions Options => _options;

    /// <summary>Makes the container; its init waits for <see cref="StartAsync"/>. Fails if the executable does not exist.</summary>
    /// <returns>Init, which has fallen to this process as its subreaper.</returns>
    public async Task<HostProcess> CreateAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(spec);
        spec.Resources?.Intend(this);
        var pidFile = System.IO.Path.Combine(spec.WorkDirectory, "init.pid");
        List<string> arguments = ["create", "--bundle", spec.Bundle, "--pid-file", pidFile];
        AddConsole(arguments, spec.Stdio);
        if (_options.NoPivotRoot)
        {
            arguments.Add("--no-pivot");
        }
        if (_options.NoNewKeyring)
        {
            arguments.Add("--no-new-keyring");
        }
        arguments.Add(spec.Id);
        var made = false;
        try
        {
            await RunAsync(arguments, spec.WorkDirectory, spec.Stdio, cancellationToken).ConfigureAwait(false);
            made = true;
            return _services.Processes.Adopt(ReadPid(pidFile));
        }
        catch (Exception e) when (made || e is SandboxException { Error: SandboxError.DeadlineExceeded })
        {
            // A runtime that fails by itself clears up by itself; that would also be the one to say that the id is another's.
            await CleanUp.TryAsync(() => DeleteAsync(spec, CancellationToken.None)).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Runs the user's process.</summary>
    public Task StartAsync(ContainerSpec spec, CancellationToken cancellationToken) => RunAsync(["start", spec.Id], spec, cancellationToken);

    /// <summary>The container's state as the runtime has it: created, running, paused or stopped.</summary>
    /// <exception cref="SandboxException">NotFound: it knows no such container.</exception>
    public async Task<string> GetStatusAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(spec);
        var state = await OutputAsync(["--root", _options.Root, "state", spec.Id], cancellationToken).ConfigureAwait(false);
        using var json = System.Text.Json.JsonDocument.Parse(state);
        return json.RootElement.GetProperty("status").GetString() ?? "";
    }

    /// <summary>Starts one more process in a container that runs.</summary>
    public async Task<HostProcess> ExecAsync(ContainerSpec spec, ExecSpec exec, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(exec);
        var file = NewFile(exec.WorkDirectory, "exec");
        // By the exec's name, and kept for as long as the process: should we die before the pid is written down, it is found here.
        var pidFile = ExecPidFile(exec.WorkDirectory, exec.Id);
        try
        {
            await File.WriteAllBytesAsync(file, exec.Process, cancellationToken).ConfigureAwait(false);
            List<string> arguments = ["exec", "--detach", "--process", file, "--pid-file", pidFile];
            AddConsole(arguments, exec.Stdio);
            arguments.Add(spec.Id);
            await RunAsync(arguments, exec.WorkDirectory, exec.Stdio, cancellationToken).ConfigureAwait(false);
            return _services.Processes.Adopt(ReadPid(pidFile), pidFile);
        }
        catch
        {
            Libc.TryRemoveFile(pidFile);
            throw;
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>
    /// Ends an exec whose start an earlier life of the sandboxer has begun and of which it has recorded no process: where the runtime got so
    /// far as to make one, it is in the container's cgroup.
    /// </summary>
    internal static void EndExec(string workDirectory, string execId, Cgroup? cgroup)
    {
        var pidFile = ExecPidFile(workDirectory, execId);
        if (File.Exists(pidFile) && ReadPid(pidFile) is var pid && cgroup?.GetProcessIds().Contains(pid) == true)
        {
            Libc.Kill(pid, Libc.SIGKILL);
        }
        Libc.TryRemoveFile(pidFile);
    }

    private static string ExecPidFile(string workDirectory, string execId) => System.IO.Path.Combine(workDirectory, $"exec.{execId}.pid");

    /// <summary>Freezes the container.</summary>
    public Task PauseAsync(ContainerSpec spec, CancellationToken cancellationToken) => RunAsync(["pause", spec.Id], spec, cancellationToken);

    /// <summary>Thaws the container.</summary>
    public Task ResumeAsync(ContainerSpec spec, CancellationToken cancellationToken) => RunAsync(["resume", spec.Id], spec, cancellationToken);

    /// <summary>Changes limits: OCI LinuxResources, JSON in UTF-8.</summary>
    public async Task UpdateAsync(ContainerSpec spec, ReadOnlyMemory<byte> resources, CancellationToken cancellationToken)
    {
        var file = NewFile(spec.WorkDirectory, "resources");
        try
        {
            await File.WriteAllBytesAsync(file, resources, cancellationToken).ConfigureAwait(false);
            await RunAsync(["update", "--resources", file, spec.Id], spec, cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>Ends the container if it lives and removes what the runtime knows of it; an unknown one is a success.</summary>
    public async Task DeleteAsync(ContainerSpec spec, CancellationToken cancellationToken)
    {
        // Without --force first: with it runc waits 100 ms for the end even of a container that has ended.
        var problem = await TryDeleteAsync(["delete", spec.Id], spec, cancellationToken).ConfigureAwait(false);
        if (problem is { Error: not SandboxError.DeadlineExceeded })
        {
            problem = await TryDeleteAsync(["delete", "--force", spec.Id], spec, cancellationToken).ConfigureAwait(false);
        }
        if (problem is not null)
        {
            throw problem;
        }
    }

    private async Task<SandboxException?> TryDeleteAsync(List<string> arguments, ContainerSpec spec, CancellationToken cancellationToken)
    {
        try
        {
            await RunAsync(arguments, spec, cancellationToken).ConfigureAwait(false);
            return null;
        }
        catch (SandboxException e) when (e.Error == SandboxError.NotFound)
        {
            // Gone already, which is what was asked for.
            return null;
        }
        catch (SandboxException e)
        {
            return e;
        }
    }

    /// <summary>The runtime's features document, JSON in UTF-8, as <c>RUNTIME features</c> prints it.</summary>
    public async Task<byte[]> GetFeaturesAsync(CancellationToken cancellationToken) =>
        await OutputAsync(["features"], cancellationToken).ConfigureAwait(false);

    /// <summary>What <c>RUNTIME --version</c> prints.</summary>
    public async Task<string> GetVersionAsync(CancellationToken cancellationToken) =>
        System.Text.Encoding.UTF8.GetString(await OutputAsync(["--version"], cancellationToken).ConfigureAwait(false)).Trim();

    private Task RunAsync(List<string> arguments, ContainerSpec spec, CancellationToken cancellationToken) =>
        RunAsync(arguments, spec.WorkDirectory, null, cancellationToken);

    private async Task RunAsync(List<string> arguments, string workDirectory, ProcessStdio? stdio, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var log = NewFile(workDirectory, "log");
        List<string> all = ["--root", _options.Root, "--log", log, "--log-format", "json"];
        if (_options.SystemdCgroup)
        {
            all.Add("--systemd-cgroup");
        }
        all.AddRange(arguments);
        try
        {
            using var process = _services.Processes.Start(new SpawnRequest(_path, all)
            {
                Handles = [stdio?.Stdin, stdio?.Stdout, stdio?.Stderr],
                WorkingDirectory = workDirectory,
                NewSession = true,
            });
            await FinishAsync(process, arguments[0], () => OciRuntimeLog.LastError(log)).ConfigureAwait(false);
        }
        finally
        {
            File.Delete(log);
        }
    }

    private async Task<byte[]> OutputAsync(List<string> arguments, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var (read, write) = Libc.Pipe();
        using var process = Start();
        var text = Task.Run(
            () =>
            {
                using (read)
                {
                    return Libc.ReadToEnd(read, MaxOutput, $"{_path} {arguments[0]}");
                }
            },
            CancellationToken.None);
        await FinishAsync(process, arguments[0], () => null).ConfigureAwait(false);
        // A child that the runtime left may hold the pipe.
        return await text.EndsWithinAsync(_options.CommandTimeout, _services.TimeProvider).ConfigureAwait(false)
            ? await text.ConfigureAwait(false)
            : throw new SandboxException(SandboxError.DeadlineExceeded, $"the output of {_path} {arguments[0]} does not end");

        HostProcess Start()
        {
            using (write)
            {
                return _services.Processes.Start(_path, arguments, stdout: write);
            }
        }
    }

    private async Task FinishAsync(HostProcess process, string command, Func<string?> lastError)
    {
        if (!await process.Exited.EndsWithinAsync(_options.CommandTimeout, _services.TimeProvider).ConfigureAwait(false))
        {
            process.Signal(Libc.SIGKILL);
            throw new SandboxException(SandboxError.DeadlineExceeded, $"{_path} {command} took longer than {_options.CommandTimeout}");
        }
        var code = (await process.Exited.ConfigureAwait(false)).Code;
        if (code != 0)
        {
            throw OciRuntimeLog.ToException($"{System.IO.Path.GetFileName(_path)} {command}", code, lastError());
        }
    }

    private static void AddConsole(List<string> arguments, ProcessStdio stdio)
    {
        if (stdio.ConsoleSocket is { } socket)
        {
            arguments.AddRange(["--console-socket", socket]);
        }
    }

    private string NewFile(string directory, string name) =>
        System.IO.Path.Combine(directory, $"{name}-{Interlocked.Increment(ref _lastFile).ToString(CultureInfo.InvariantCulture)}");

    private static int ReadPid(string pidFile)
    {
        var text = Libc.ReadFile(pidFile, 1024) ?? [];
        return Utf8Parser.TryParse(text, out int pid, out _) && pid > 0
            ? pid
            : throw new SandboxException(SandboxError.Unknown, $"the runtime wrote no pid to {pidFile}");
    }

    private static string Find(string path)
    {
        if (System.IO.Path.IsPathRooted(path))
        {
            return File.Exists(path) ? path : throw new SandboxException(SandboxError.NotFound, $"no OCI runtime at {path}");
        }
        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries))
        {
            var candidate = System.IO.Path.Combine(folder, path);
            if (File.Exists(candidate))
            {
                return candidate;
            }
        }
        throw new SandboxException(SandboxError.NotFound, $"no OCI runtime {path} on PATH");
    }
}
