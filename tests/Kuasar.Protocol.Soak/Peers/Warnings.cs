using Microsoft.Extensions.Logging;

namespace Kuasar.Protocol.Soak;

/// <summary>Counts what the library complains of.</summary>
internal sealed class Warnings : ILoggerFactory, ILogger
{
    private int _errors;
    private string _first = "";

    /// <summary>Lines of level error; nothing here makes one.</summary>
    internal int Errors => Volatile.Read(ref _errors);

    internal string First => _first;

    public ILogger CreateLogger(string categoryName) => this;

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Error;

    public void Log<TState>(
        LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (logLevel >= LogLevel.Error && Interlocked.Increment(ref _errors) == 1)
        {
            _first = $"{formatter(state, exception)} {exception}";
        }
    }

    public void Dispose()
    {
    }
}
