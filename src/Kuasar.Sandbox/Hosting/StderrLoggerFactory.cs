using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Kuasar.Sandbox.Hosting;

/// <summary>Lines on standard error, for a host without a logging provider: time, level, category, text.</summary>
internal sealed class StderrLoggerFactory(LogLevel minimum) : ILoggerFactory
{
    public ILogger CreateLogger(string categoryName) => new StderrLogger(minimum, categoryName);

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("Give the host a logger factory of your own instead.");

    public void Dispose()
    {
    }

    private sealed class StderrLogger(LogLevel minimum, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= minimum && logLevel != LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel))
            {
                return;
            }
            var level = logLevel switch
            {
                LogLevel.Trace => "trace",
                LogLevel.Debug => "debug",
                LogLevel.Information => "info",
                LogLevel.Warning => "warn",
                LogLevel.Error => "error",
                _ => "fatal",
            };
            var text = exception is null ? "" : $": {exception}";
            // One write a line, so that lines of several threads do not mix.
            Console.Error.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{DateTime.UtcNow:yyyy-MM-ddTHH:mm:ss.fffZ} {level} {category}[{eventId.Id}] {formatter(state, exception)}{text}"));
        }
    }
}
