using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Vmm.Contracts.Agent;
using TaskContract = Kuasar.Protocol.Contracts.TaskV3.Task;
using SystemTask = System.Threading.Tasks.Task;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>One connection to an agent, with what tests ask of it.</summary>
internal sealed class AgentClient : IDisposable
{
    private readonly AgentBed _bed;
    private readonly TtrpcClient _client;

    internal AgentClient(AgentBed bed, Connection connection)
    {
        _bed = bed;
        _client = new TtrpcClient(connection);
        Tasks = new TaskContract.TaskClient(_client);
        Agent = new SandboxService.SandboxServiceClient(_client);
        Host = new Kuasar.Vmm.AgentClient(bed.DialAsync);
    }

    internal TaskContract.TaskClient Tasks { get; }

    internal SandboxService.SandboxServiceClient Agent { get; }

    /// <summary>What a host uses.</summary>
    internal Kuasar.Vmm.AgentClient Host { get; }

    /// <summary>Bounds a call.</summary>
    internal static CallOptions Soon => new(deadline: DateTime.UtcNow.AddSeconds(30));

    /// <summary>Makes a container whose bundle has been written.</summary>
    internal async SystemTask CreateAsync(string id, bool stdin = false, bool terminal = false)
    {
        await Tasks.CreateAsync(
            new CreateTaskRequest
            {
                Id = id,
                Bundle = Path.Combine(_bed.ShareInAgent, id),
                Stdin = stdin ? AgentBed.StreamUrl(id + "-stdin") : "",
                Stdout = AgentBed.StreamUrl(id + "-stdout"),
                Stderr = terminal ? "" : AgentBed.StreamUrl(id + "-stderr"),
                Terminal = terminal,
            },
            Soon);
    }

    internal async SystemTask StartAsync(string id, string exec = "") => await Tasks.StartAsync(new StartRequest { Id = id, ExecId = exec }, Soon);

    internal async Task<uint> WaitAsync(string id, string exec = "") => (await Tasks.WaitAsync(new WaitRequest { Id = id, ExecId = exec }, Soon)).ExitStatus;

    internal async Task<DeleteResponse> DeleteAsync(string id, string exec = "") => await Tasks.DeleteAsync(new DeleteRequest { Id = id, ExecId = exec }, Soon);

    internal async SystemTask KillAsync(string id, uint signal = 9) => await Tasks.KillAsync(new KillRequest { Id = id, Signal = signal }, Soon);

    internal async SystemTask ExecAsync(string id, string exec, string[] args, bool stdin = false, bool terminal = false)
    {
        await Tasks.ExecAsync(
            new ExecProcessRequest
            {
                Id = id,
                ExecId = exec,
                Spec = new Any { TypeUrl = "types.containerd.io/opencontainers/runtime-spec/1/Process", Value = ByteString.CopyFromUtf8(Bundle.Process(args, terminal).ToJsonString()) },
                Stdin = stdin ? AgentBed.StreamUrl($"{id}-{exec}-stdin") : "",
                Stdout = AgentBed.StreamUrl($"{id}-{exec}-stdout"),
                Stderr = terminal ? "" : AgentBed.StreamUrl($"{id}-{exec}-stderr"),
                Terminal = terminal,
            },
            Soon);
    }

    internal Task<ByteStream> OpenStreamAsync(string id, bool grants = false, int? position = null) =>
        ByteStream.OpenAsync(new Streaming.StreamingClient(_client), id, grants, position);

    /// <summary>Makes, runs and deletes a container: its code and what it wrote.</summary>
    internal async Task<(uint Code, string Output, string Error)> RunAsync(string id, params string[] args)
    {
        Bundle.Write(Path.Combine(_bed.Share, id), args);
        await CreateAsync(id);
        return await FinishAsync(id);
    }

    /// <summary>Starts what has been created, and sees it to its end.</summary>
    internal async Task<(uint Code, string Output, string Error)> FinishAsync(string id)
    {
        // Before the start: what has been deleted has no streams.
        var (stdout, stderr) = (ReadAsync(await Host.OpenOutputAsync(id + "-stdout")), ReadAsync(await Host.OpenOutputAsync(id + "-stderr")));
        await StartAsync(id);
        var code = await WaitAsync(id);
        await DeleteAsync(id);
        return (code, await stdout, await stderr);
    }

    /// <summary>All that comes by a stream, as a host reads it.</summary>
    internal async Task<string> ReadAsync(string streamId) => await ReadAsync(await Host.OpenOutputAsync(streamId));

    private static async Task<string> ReadAsync(Stream stream)
    {
        await using (stream)
        {
            using var reader = new StreamReader(stream);
            return await reader.ReadToEndAsync();
        }
    }

    internal async SystemTask ShutdownAsync() => await Tasks.ShutdownAsync(new ShutdownRequest { Id = "pod", Now = true }, Soon);

    public void Dispose()
    {
        Host.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(10));
        _client.DisposeAsync().AsTask().Wait(TimeSpan.FromSeconds(10));
    }
}
