using System.Runtime.CompilerServices;

namespace Kuasar.Protocol.Interop.Tests;

/// <summary>A test with a folder for its socket and a bound for its waits.</summary>
public abstract class InteropTest(GoToolchain go) : IAsyncLifetime
{
    /// <summary>Generous, for a machine that is shared.</summary>
    internal static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    private string _folder = "";

    internal string SocketPath => Path.Combine(_folder, "s");

    public virtual ValueTask InitializeAsync()
    {
        go.Require();
        _folder = Directory.CreateTempSubdirectory("kuasar-interop-").FullName;
        return ValueTask.CompletedTask;
    }

    public virtual ValueTask DisposeAsync()
    {
        if (_folder.Length > 0)
        {
            Directory.Delete(_folder, recursive: true);
        }
        return ValueTask.CompletedTask;
    }

    internal static async Task<RpcException> FailsAsync(StatusCode code, Task call)
    {
        var error = await Assert.ThrowsAsync<RpcException>(() => call.WaitAsync(Limit));
        Assert.True(code == error.StatusCode, $"expected {code}, not {error.Status}");
        return error;
    }

    internal static async Task UntilAsync(Func<Task<bool>> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!await condition().WaitAsync(Limit))
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Limit, $"not within {Limit}: {what}");
            await Task.Delay(10);
        }
    }
}
