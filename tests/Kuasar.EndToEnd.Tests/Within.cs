using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Kuasar.EndToEnd.Tests;

/// <summary>Every wait has a bound, generous for a machine that is shared, and says what did not come.</summary>
internal static class Within
{
    internal static readonly TimeSpan Usual = TimeSpan.FromSeconds(30);

    /// <summary>For what only the kernel or /proc can tell: asks until it holds.</summary>
    internal static Task UntilAsync(Func<bool> condition, TimeSpan? bound = null, [CallerArgumentExpression(nameof(condition))] string what = "") =>
        UntilAsync(() => Task.FromResult(condition()), bound, what);

    internal static async Task UntilAsync(Func<Task<bool>> condition, TimeSpan? bound = null, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        var clock = Stopwatch.StartNew();
        while (!await condition())
        {
            if (clock.Elapsed > (bound ?? Usual))
            {
                throw new TimeoutException($"not within {bound ?? Usual}: {what}");
            }
            await Task.Delay(20);
        }
    }

    internal static async Task<T> BoundAsync<T>(this Task<T> task, TimeSpan? bound = null, [CallerArgumentExpression(nameof(task))] string what = "")
    {
        try
        {
            return await task.WaitAsync(bound ?? Usual);
        }
        catch (TimeoutException) when (!task.IsFaulted)
        {
            throw new TimeoutException($"not within {bound ?? Usual}: {what}");
        }
    }

    internal static async Task BoundAsync(this Task task, TimeSpan? bound = null, [CallerArgumentExpression(nameof(task))] string what = "")
    {
        try
        {
            await task.WaitAsync(bound ?? Usual);
        }
        catch (TimeoutException) when (!task.IsFaulted)
        {
            throw new TimeoutException($"not within {bound ?? Usual}: {what}");
        }
    }
}
