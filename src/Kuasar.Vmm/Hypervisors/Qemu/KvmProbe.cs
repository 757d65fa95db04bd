namespace Kuasar.Vmm.Hypervisors.Qemu;

/// <summary>
/// Whether KVM runs guests here: /dev/kvm may be there, and take a guest, and then interpret its kernel a hundred times slower than emulation. So a
/// kernel is booted that finds no root, panics, and says so; once in a hypervisor's life, and not where a machine of an earlier life can tell. Thread-safe.
/// </summary>
internal sealed class KvmProbe(QemuOptions options)
{
    private const string Device = "/dev/kvm", Panic = "Kernel panic - not syncing";

    private readonly Lock _lock = new();
    private Task<bool>? _probe;

    /// <summary>Whether machines are to use it. The first who asks makes the probe, and others wait; when its machine ends meanwhile, the next makes one.</summary>
    /// <param name="kernel">The machine's.</param>
    /// <param name="console">Where the kernel's messages go.</param>
    /// <param name="tryAsync">Starts QEMU with the arguments, and ends it when the time is over; false: it had not ended.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    internal async Task<bool> IsUsedAsync(string kernel, string console, Func<IReadOnlyList<string>, Task<bool>> tryAsync, CancellationToken cancellationToken)
    {
        if (options.Accelerator != QemuAccelerator.Automatic)
        {
            return options.Accelerator == QemuAccelerator.Kvm;
        }
        while (true)
        {
            Task<bool> probe;
            bool isOurs;
            lock (_lock)
            {
                // One that could not be made is made again.
                isOurs = _probe is null or { IsFaulted: true } or { IsCanceled: true };
                probe = isOurs ? _probe = File.Exists(Device) ? ProbeAsync() : Task.FromResult(false) : _probe!;
            }
            try
            {
                return await probe.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (Exception e) when (!isOurs && !cancellationToken.IsCancellationRequested && (e is IOException or OperationCanceledException))
            {
                // It was another's.
            }
        }

        async Task<bool> ProbeAsync() => await tryAsync(Arguments(kernel, console)).ConfigureAwait(false) && HasPanicked(console);
    }

    /// <summary>What a machine that was taken over runs with.</summary>
    internal void Learn(bool isUsed)
    {
        lock (_lock)
        {
            _probe ??= Task.FromResult(isUsed);
        }
    }

    private List<string> Arguments(string kernel, string console) =>
    [
        .. QemuCommandLine.Basics(options), "-accel", "kvm", "-cpu", options.Cpu ?? "host", "-machine", "q35,sata=off,smbus=off", "-m", "128M", "-kernel", kernel,
        "-append", "console=ttyS0 panic=-1 root=none", "-serial", "file:" + console,
    ];

    // A processor that gives up resets the machine as well.
    private static bool HasPanicked(string console) => File.Exists(console) && File.ReadAllText(console).Contains(Panic, StringComparison.Ordinal);
}
