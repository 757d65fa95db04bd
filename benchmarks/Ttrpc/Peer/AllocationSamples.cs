using System.Collections.Concurrent;
using System.Diagnostics.Tracing;

namespace Kuasar.Benchmarks.Peer;

/// <summary>What this process allocates while this lives, by type as the runtime names it. Only where the runtime has its events: on the JIT, and not built for NativeAOT.</summary>
internal sealed class AllocationSamples : EventListener
{
    // AllocationSampled, of .NET 10: bytes are chosen at random, so that none hides between two samples.
    private const EventKeywords Sampling = (EventKeywords)0x80000000000;
    private const int AllocationSampled = 303;

    // Mean number of bytes from one sample to the next.
    private const double Distance = 100 << 10;

    // Made before the base class's constructor calls OnEventSourceCreated.
    private readonly ConcurrentDictionary<string, int> _samples = new();

    internal Dictionary<string, double> BytesByType() =>
        _samples.ToDictionary(type => type.Key, type => type.Value * Distance);

    protected override void OnEventSourceCreated(EventSource eventSource)
    {
        if (eventSource.Name == "Microsoft-Windows-DotNETRuntime")
        {
            EnableEvents(eventSource, EventLevel.Informational, Sampling);
        }
    }

    protected override void OnEventWritten(EventWrittenEventArgs eventData)
    {
        if (eventData.EventId == AllocationSampled && eventData.Payload?[3] is string type)
        {
            _samples.AddOrUpdate(type, 1, (_, count) => count + 1);
        }
    }
}
