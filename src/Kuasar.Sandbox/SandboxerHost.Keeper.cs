using Kuasar.Sandbox.Hosting;
using Kuasar.Sandbox.Keeper;

namespace Kuasar.Sandbox;

/// <content>The program as a whole: with a keeper it runs twice.</content>
public sealed partial class SandboxerHost
{
    /// <summary>
    /// Runs until SIGTERM or SIGINT. With <see cref="SandboxerOptions.Keeper"/> this process becomes the keeper, which starts the same
    /// program with the same arguments as the sandboxer; there, and without a keeper, the sandboxer is made and served.
    /// </summary>
    /// <param name="create">Makes the sandboxer; not called in the keeper, which should have done nothing before but read its arguments.</param>
    /// <param name="options">The same in both processes.</param>
    /// <param name="cancellationToken">Ends it as SIGTERM does.</param>
    /// <returns>The exit code for the process.</returns>
    /// <exception cref="SandboxException">AlreadyExists: another serves this run directory.</exception>
    /// <exception cref="ArgumentException">The options are wrong; the message says which.</exception>
    public static Task<int> RunProgramAsync(Func<Sandboxer> create, SandboxerOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(create);
        ArgumentNullException.ThrowIfNull(options);
        // Blocks in the keeper, which has no use for the thread pool.
        return options.Keeper
            && KeeperProgram.TryRun(options.Validate(), options.LoggerFactory ?? new StderrLoggerFactory(options.LogLevel), cancellationToken) is { } code
            ? Task.FromResult(code)
            : ServeAsync(create, options, cancellationToken);
    }

    private static async Task<int> ServeAsync(Func<Sandboxer> create, SandboxerOptions options, CancellationToken cancellationToken)
    {
        var host = new SandboxerHost(create(), options);
        await using (host.ConfigureAwait(false))
        {
            await host.RunAsync(cancellationToken).ConfigureAwait(false);
        }
        return 0;
    }
}
