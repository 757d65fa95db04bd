namespace Kuasar.Sandbox.Pods;

/// <summary>What has to be undone, in reverse. A step that fails stays for another try and keeps no other from being taken.</summary>
internal sealed class UndoList
{
    private readonly List<Func<Task>> _steps = [];

    /// <summary>Said before the thing is done: undoing what was not done is no error.</summary>
    internal void Add(Action step) => Add(() =>
    {
        step();
        return Task.CompletedTask;
    });

    /// <inheritdoc cref="Add(Action)"/>
    internal void Add(Func<Task> step) => _steps.Add(step);

    /// <exception cref="IOException">The first step that failed; the others are taken.</exception>
    internal async Task UndoAsync()
    {
        IOException? first = null;
        for (var i = _steps.Count - 1; i >= 0; i--)
        {
            try
            {
                await _steps[i]().ConfigureAwait(false);
                _steps.RemoveAt(i);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException or TimeoutException)
            {
                first ??= e as IOException ?? new IOException(e.Message, e);
            }
        }
        if (first is not null)
        {
            throw first;
        }
    }
}
