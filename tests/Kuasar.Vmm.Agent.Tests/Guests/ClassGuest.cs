using Kuasar.Vmm.Tests.Support;

namespace Kuasar.Vmm.Agent.Tests.Guests;

/// <summary>One guest for all tests of a class, which boots when the first of them asks for it.</summary>
public sealed class ClassGuest : IAsyncDisposable
{
    /// <summary>The tag of this host's root folder.</summary>
    internal const string HostTag = "host";

    private readonly Lazy<Task<QemuGuest>> _guest = new(static () => QemuGuest.BootAsync(change: static (_, config) => config with
    {
        MemoryBytes = 512L * QemuGuest.MiB,
        FileSystems = [.. config.FileSystems, new VmFileSystem("host", HostTag, "/")],
    }));

    /// <summary>Skips the test that calls it where there can be none.</summary>
    internal Task<QemuGuest> GetAsync() => _guest.Value;

    public async ValueTask DisposeAsync()
    {
        if (_guest is { IsValueCreated: true, Value.IsCompletedSuccessfully: true })
        {
            await (await _guest.Value).DisposeAsync();
        }
    }
}
