using System.Globalization;

[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]

namespace Kuasar.Protocol.Load.Tests;

/// <summary>A test with our server on a unix socket, alone in its process.</summary>
public abstract class LoadTest : IAsyncLifetime
{
    /// <summary>What a test waits before it fails; never what it waits to pass.</summary>
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private string _folder = "";
    private OurServer? _server;

    internal string Address => Path.Combine(_folder, "s");

    internal TtrpcServer Server => _server!.Server;

    public ValueTask InitializeAsync()
    {
        _folder = Directory.CreateTempSubdirectory("kuasar-load-").FullName;
        _server = new OurServer(Address);
        return default;
    }

    public async ValueTask DisposeAsync()
    {
        await _server!.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Managed bytes that live.</summary>
    internal static long Heap() => Vitals.Take().Heap;

    internal static async Task UntilAsync(Func<bool> condition)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, "the condition did not come true");
            await Task.Delay(5);
        }
    }

    internal static string Show(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{bytes / 1048576.0:F1} MiB");

    internal async Task AssertAnswersAsync(int calls)
    {
        await using var client = await TtrpcClient.ConnectAsync(Address).AsTask().WaitAsync(Limit);
        var peer = new Peer.PeerClient(client);
        for (var i = 0; i < calls; i++)
        {
            Assert.Equal(i, (await peer.EchoAsync(Messages.Text(Messages.Number(i))).ResponseAsync.WaitAsync(Limit)).ToNumber());
        }
    }
}
