namespace Kuasar.Protocol.Fuzz.Targets;

internal static class Until
{
    /// <summary>For states without an event. Without a limit: the loop's watchdog has one for everything.</summary>
    internal static async ValueTask TrueAsync(Func<bool> condition)
    {
        for (var turns = 0; !condition(); turns++)
        {
            if (turns < 100)
            {
                await Task.Yield();
            }
            else
            {
                await Task.Delay(1);
            }
        }
    }
}
