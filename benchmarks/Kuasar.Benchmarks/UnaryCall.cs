using BenchmarkDotNet.Attributes;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.TaskV3;
using TaskService = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Benchmarks;

/// <summary>How long does one call take, there and back, when the connection is otherwise idle?</summary>
[MemoryDiagnoser]
public class UnaryCall
{
    private Link? _link;

    [Params(Transport.InProcess, Transport.UnixSocket)]
    public Transport Over { get; set; }

    [GlobalSetup]
    public async System.Threading.Tasks.Task Setup() => _link = await Link.OpenAsync(Over);

    [GlobalCleanup]
    public async System.Threading.Tasks.Task Cleanup() => await _link!.DisposeAsync();

    [Benchmark]
    public async Task<StateResponse> State() => await _link!.Tasks.StateAsync(Sample.Request);
}

/// <summary>How long does a call take when so many are under way on one connection? The time is for one of them.</summary>
[MemoryDiagnoser]
public class ManyCalls
{
    private const int Calls = 64;

    private readonly Task<StateResponse>[] _calls = new Task<StateResponse>[Calls];
    private Link? _link;

    [Params(Transport.InProcess, Transport.UnixSocket)]
    public Transport Over { get; set; }

    [GlobalSetup]
    public async System.Threading.Tasks.Task Setup() => _link = await Link.OpenAsync(Over);

    [GlobalCleanup]
    public async System.Threading.Tasks.Task Cleanup() => await _link!.DisposeAsync();

    [Benchmark(OperationsPerInvoke = Calls)]
    public async System.Threading.Tasks.Task State()
    {
        for (var i = 0; i < Calls; i++)
        {
            _calls[i] = _link!.Tasks.StateAsync(Sample.Request).ResponseAsync;
        }
        await System.Threading.Tasks.Task.WhenAll(_calls);
    }
}

public enum Transport
{
    InProcess,
    UnixSocket,
}

/// <summary>A client and a server of the task service, connected.</summary>
internal sealed class Link : IAsyncDisposable
{
    private readonly TtrpcServer _server = new();
    private TtrpcClient? _client;
    private UnixConnectionSource? _source;

    internal TaskService.TaskClient Tasks { get; private set; } = null!;

    internal static async Task<Link> OpenAsync(Transport transport)
    {
        var link = new Link();
        TaskService.BindService(link._server.Services, new SampleService());
        if (transport == Transport.InProcess)
        {
            var (client, server) = ConnectionPair.Create();
            _ = link._server.ServeAsync(server, CancellationToken.None);
            link._client = new TtrpcClient(client);
        }
        else
        {
            var address = $"unix://@kuasar-benchmark-{Guid.NewGuid():N}";
            link._source = UnixConnectionSource.Bind(address);
            _ = link._server.ServeAsync(link._source, CancellationToken.None);
            link._client = await TtrpcClient.ConnectAsync(address);
        }
        link.Tasks = new TaskService.TaskClient(link._client);
        return link;
    }

    public async ValueTask DisposeAsync()
    {
        await _client!.DisposeAsync();
        await _server.DisposeAsync();
        if (_source is { } source)
        {
            await source.DisposeAsync();
        }
    }
}
