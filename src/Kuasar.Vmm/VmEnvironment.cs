using System.Runtime.InteropServices;
using Kuasar.Vmm.Contracts;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging;

namespace Kuasar.Vmm;

/// <summary>Where a machine lives, and who is told of it.</summary>
/// <param name="WorkDirectory">
/// A folder for this machine alone, absolute, made with mode 0700: its sockets, its daemons' logs. At most 80 bytes, as a socket's path has
/// 107. What the machine has put there goes with it; the folder is the caller's.
/// </param>
public sealed record VmEnvironment(string WorkDirectory)
{
    /// <summary>Who starts its processes.</summary>
    public VmProcesses Processes { get; init; } = new OwnVmProcesses();

    /// <summary>Given the record after every change, the machine's to go on with: to be written down before it returns. It must not call the machine.</summary>
    public Action<VmRecord>? Save { get; init; }

    /// <summary>
    /// Has somebody else keep a connection open until the result is disposed, should this process end before. vhost-device-vsock serves nobody any
    /// more when the one who dials is gone before the guest answers: so dials are held. Null: nobody does.
    /// </summary>
    public Func<SafeHandle, IDisposable?>? HoldConnection { get; init; }

    /// <summary>Where logs go.</summary>
    public ILoggerFactory LoggerFactory { get; init; } = NullLoggerFactory.Instance;

    /// <summary>The clock.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    internal string PathOf(string name) => Path.Combine(WorkDirectory, name);
}
