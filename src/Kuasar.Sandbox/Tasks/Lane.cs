using System.Diagnostics.CodeAnalysis;

namespace Kuasar.Sandbox.Tasks;

/// <summary>One thing at a time, in order of arrival, for one process. Never held by a reader of state.</summary>
[SuppressMessage("Reliability", "CA1001", Justification = "A semaphore whose wait handle nobody asks for holds nothing.")]
internal sealed class Lane
{
    private readonly SemaphoreSlim _free = new(1, 1);

    internal async ValueTask<Turn> EnterAsync()
    {
        await _free.WaitAsync().ConfigureAwait(false);
        return new Turn(_free);
    }

    internal readonly struct Turn(SemaphoreSlim free) : IDisposable
    {
        public void Dispose() => free.Release();
    }
}
