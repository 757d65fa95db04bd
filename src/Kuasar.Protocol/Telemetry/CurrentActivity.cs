using System.Diagnostics;

namespace Kuasar.Protocol.Telemetry;

/// <summary>
/// Puts <see cref="Activity.Current"/> back when disposed. Starting and stopping a span change it, and its own setter refuses an
/// activity that has stopped, which work that outlives its request often runs under.
/// </summary>
internal readonly ref struct CurrentActivity
{
    private readonly ExecutionContext? _context;

    private CurrentActivity(ExecutionContext? context) => _context = context;

    internal static CurrentActivity Keep() => new(ExecutionContext.Capture());

    public void Dispose()
    {
        // Null: the flow is suppressed, and nothing that comes later inherits what we left.
        if (_context is not null)
        {
            ExecutionContext.Restore(_context);
        }
    }
}
