using System.Text;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskTypes;
using Kuasar.Testing.Containerd.Tasks;

namespace Kuasar.EndToEnd.Tests.Containers;

/// <summary>How an exec is made.</summary>
internal sealed record ExecPlan(bool Terminal = false, bool Stdin = false);

/// <summary>A task's init or one of its execs, with fifos that the test holds the other ends of.</summary>
internal sealed class TestProcess(TestContainer container, string execId, bool terminal, bool hasStdin) : IAsyncDisposable
{
    private readonly List<FifoReader> _readers = [];

    internal string ExecId => execId;

    internal bool Terminal => terminal;

    internal uint Pid { get; set; }

    internal string Stdin { get; private set; } = "";

    internal string Stdout { get; private set; } = "";

    internal string Stderr { get; private set; } = "";

    /// <summary>What it writes to stdout, read from the beginning unless <see cref="ReadLater"/>.</summary>
    internal FifoReader Output { get; private set; } = null!;

    internal FifoReader Errors { get; private set; } = null!;

    /// <summary>Set before the task is created: nobody reads until the test does.</summary>
    internal bool ReadLater { get; set; }

    /// <summary>Set before the task is created: how long its reader pauses after each read.</summary>
    internal TimeSpan ReadPause { get; set; }

    internal void MakeFifos()
    {
        var folder = Directory.CreateDirectory(container.StdioFolder).FullName;
        var name = execId.Length == 0 ? "init" : execId;
        Stdout = Make("stdout");
        Stderr = terminal ? "" : Make("stderr");
        Stdin = hasStdin ? Make("stdin") : "";
        if (!ReadLater)
        {
            Output = Reader(Stdout, ReadPause);
        }
        if (Stderr.Length > 0)
        {
            Errors = Reader(Stderr);
        }

        string Make(string what)
        {
            var path = Path.Combine(folder, $"{name}-{what}");
            File.Delete(path);
            Libc.MakeFifo(path);
            return path;
        }
    }

    /// <summary>Another reader of stdout.</summary>
    internal FifoReader Reader() => Reader(Stdout);

    private FifoReader Reader(string path, TimeSpan pause = default)
    {
        var reader = new FifoReader(path, pause);
        _readers.Add(reader);
        return reader;
    }

    /// <summary>The writing end of stdin.</summary>
    internal async Task<FileStream> OpenStdinAsync() =>
        new(await Task.Run(() => Libc.Open(Stdin, Libc.O_WRONLY)).BoundAsync(what: $"a reader of {Stdin}"), FileAccess.Write, bufferSize: 0);

    internal ExecProcessRequest ExecRequest(params string[] arguments)
    {
        var spec = OciSpec.Process(arguments);
        spec["terminal"] = terminal;
        return new ExecProcessRequest
        {
            ContainerId = container.Id,
            ExecId = execId,
            Stdin = Stdin,
            Stdout = Stdout,
            Stderr = Stderr,
            Terminal = terminal,
            Spec = TypeUrl.PackJson(TypeUrl.OciProcess, Encoding.UTF8.GetBytes(spec.ToJsonString())),
        };
    }

    internal async Task StartAsync() =>
        Pid = (await Tasks.StartAsync(new StartRequest { ContainerId = container.Id, ExecId = execId }, Options)).Pid;

    internal async Task<WaitResponse> WaitAsync(TimeSpan? bound = null) =>
        await Tasks.WaitAsync(new WaitRequest { ContainerId = container.Id, ExecId = execId }, ContainerdClient.Bound(bound ?? Within.Usual));

    internal async Task KillAsync(uint signal, bool all = false) =>
        await Tasks.KillAsync(new KillRequest { ContainerId = container.Id, ExecId = execId, Signal = signal, All = all }, Options);

    internal async Task<Process> StateAsync() =>
        (await Tasks.GetAsync(new GetRequest { ContainerId = container.Id, ExecId = execId }, Options)).Process;

    internal async Task ResizeAsync(uint width, uint height) =>
        await Tasks.ResizePtyAsync(new ResizePtyRequest { ContainerId = container.Id, ExecId = execId, Width = width, Height = height }, Options);

    internal async Task CloseStdinAsync() =>
        await Tasks.CloseIOAsync(new CloseIORequest { ContainerId = container.Id, ExecId = execId, Stdin = true }, Options);

    /// <summary>An exec's.</summary>
    internal async Task<DeleteResponse> DeleteAsync() =>
        await Tasks.DeleteProcessAsync(new DeleteProcessRequest { ContainerId = container.Id, ExecId = execId }, Options);

    public async ValueTask DisposeAsync()
    {
        foreach (var reader in _readers)
        {
            await reader.DisposeAsync();
        }
    }

    private Kuasar.Testing.Containerd.Tasks.Tasks.TasksClient Tasks => container.Client.Tasks;

    private static CallOptions Options => ContainerdClient.Options;
}
