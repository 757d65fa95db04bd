using System.Diagnostics;
using Kuasar.Protocol.Fuzz.Engine;

namespace Kuasar.Protocol.Fuzz.Targets;

internal static class Until
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    /// <summary>For states without an event.</summary>
    internal static async ValueTask TrueAsync(Func<bool> condition, string what)
    {
        var start = Stopwatch.GetTimestamp();
        for (var turns = 0; !condition(); turns++)
        {
            if (turns < 100)
            {
                await Task.Yield();
                continue;
            }
            FuzzFailure.Unless(Stopwatch.GetElapsedTime(start) < Limit, $"not within {Limit}: {what}");
            await Task.Delay(1);
        }
    }
}
