namespace Kuasar.Benchmarks.Load;

/// <summary>How a server is run by the runner.</summary>
public static class Ready
{
    /// <summary>Prints "ready" and returns when stdin has ended, so that no server outlives its runner.</summary>
    public static async Task UntilStdinEndsAsync()
    {
        Console.WriteLine("ready");
        await Console.OpenStandardInput().CopyToAsync(Stream.Null).ConfigureAwait(false);
    }
}
