using System.Globalization;
using System.Runtime.InteropServices;
using Kuasar.Vmm.Vsock;

namespace Kuasar.Vmm;

/// <summary>
/// A vsock port: of the kernel's AF_VSOCK (<c>vsock://CID:PORT</c>), or of a guest whose vsock the hypervisor shows as a unix socket
/// (<c>hvsock://PATH:PORT</c>, hybrid vsock: Cloud Hypervisor, Firecracker, vhost-device-vsock).
/// </summary>
/// <remarks>
/// Hybrid: the host dials by <c>CONNECT port</c> on the socket PATH; what the guest dials at CID 2 arrives on the socket
/// <c>PATH_PORT</c>, where the host must listen before, or the guest waits for two seconds.
/// </remarks>
public sealed record VsockEndPoint
{
    /// <summary>The kernel's own loopback, where the module vsock_loopback is there.</summary>
    public const uint LoopbackCid = 1;

    /// <summary>The host, as seen by a guest.</summary>
    public const uint HostCid = 2;

    /// <summary>To listen on whatever CID is ours (VMADDR_CID_ANY).</summary>
    public const uint AnyCid = uint.MaxValue;

    /// <summary>To listen on a free port (VMADDR_PORT_ANY); AF_VSOCK only.</summary>
    public const uint AnyPort = uint.MaxValue;

    private VsockEndPoint(uint contextId, string? path, uint port)
    {
        ContextId = contextId;
        Path = path;
        Port = port;
    }

    /// <summary>The CID; 0 for hybrid vsock, where the socket stands for it.</summary>
    public uint ContextId { get; }

    /// <summary>Path of the hypervisor's unix socket; null for AF_VSOCK.</summary>
    public string? Path { get; }

    /// <summary>The port, of the guest's or the host's 32-bit space.</summary>
    public uint Port { get; private init; }

    /// <summary>A port in the kernel's AF_VSOCK.</summary>
    public static VsockEndPoint Native(uint contextId, uint port) => new(contextId, null, port);

    /// <summary>A port behind a hypervisor's unix socket.</summary>
    /// <param name="path">Absolute; at most 107 bytes, with <c>_PORT</c> appended too where one listens.</param>
    /// <param name="port">The port.</param>
    /// <exception cref="ArgumentException">No absolute path.</exception>
    public static VsockEndPoint Hybrid(string path, uint port)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return path[0] == '/' && !path.Contains('\0')
            ? new VsockEndPoint(0, path, port)
            : throw new ArgumentException($"'{path}' is no absolute path of a socket.", nameof(path));
    }

    /// <summary>Reads <c>vsock://CID:PORT</c> and <c>hvsock://PATH:PORT</c>, with or without <c>ttrpc+</c> before and a query after.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static VsockEndPoint Parse(string address)
    {
        ArgumentNullException.ThrowIfNull(address);
        var text = address.StartsWith("ttrpc+", StringComparison.Ordinal) ? address["ttrpc+".Length..] : address;
        text = text.Split('?', 2)[0];
        var colon = text.LastIndexOf(':');
        if (colon > 0 && uint.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var port))
        {
            const string native = "vsock://", hybrid = "hvsock://";
            if (text.StartsWith(hybrid, StringComparison.Ordinal) && colon > hybrid.Length && text[hybrid.Length] == '/')
            {
                return Hybrid(text[hybrid.Length..colon], port);
            }
            if (text.StartsWith(native, StringComparison.Ordinal) && colon > native.Length
                && uint.TryParse(text.AsSpan(native.Length, colon - native.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var cid))
            {
                return Native(cid, port);
            }
        }
        throw new FormatException($"'{address}' is neither vsock://CID:PORT nor hvsock:///PATH:PORT.");
    }

    /// <summary>The same guest's or host's other port.</summary>
    public VsockEndPoint WithPort(uint port) => this with { Port = port };

    /// <summary>Dials once.</summary>
    /// <param name="timeout">For all of it, the guest's answer included; not for what follows on the stream.</param>
    /// <param name="cancellationToken">Ends the attempt; not the stream.</param>
    /// <returns>The connected stream; the caller disposes it.</returns>
    /// <exception cref="VsockException">Nobody is there, or does not answer in time: <see cref="VsockException.Reason"/>.</exception>
    /// <remarks>
    /// A guest that is paused does not answer; <see cref="VirtualMachine.ConnectAsync"/> waits. An attempt that was given up stays open until it is
    /// answered, or the hypervisor ends, as vhost-device-vsock panics when it is to answer nobody.
    /// </remarks>
    public ValueTask<VsockStream> ConnectAsync(TimeSpan timeout, CancellationToken cancellationToken = default) => ConnectAsync(timeout, null, cancellationToken);

    /// <summary>As the other; held meanwhile, as <see cref="VmEnvironment.HoldConnection"/> is.</summary>
    internal async ValueTask<VsockStream> ConnectAsync(TimeSpan timeout, Func<SafeHandle, IDisposable?>? hold, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(timeout);
        try
        {
            return Path is null
                ? await NativeVsock.ConnectAsync(this, deadline.Token).ConfigureAwait(false)
                : await HybridVsock.ConnectAsync(this, hold, deadline.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VsockException(VsockFailure.TimedOut, $"{this}: no answer within {timeout.TotalSeconds:0.###} s");
        }
    }

    /// <summary>Listens: on the port of AF_VSOCK, or on <c>PATH_PORT</c> for what a guest dials (a file of mode 0600).</summary>
    /// <param name="backlog">Connections that may wait to be accepted.</param>
    /// <returns>The listener; the caller disposes it, which removes the file.</returns>
    /// <exception cref="VsockException">Somebody listens there already, or the system refuses.</exception>
    /// <exception cref="ArgumentException">The path is longer than 107 bytes.</exception>
    public VsockListener Listen(int backlog = 128) =>
        Path is null ? NativeVsockListener.Bind(this, backlog) : HybridVsockListener.Bind(this, backlog);

    /// <summary>The address as <see cref="Parse"/> reads it.</summary>
    public override string ToString() => Path is null
        ? string.Create(CultureInfo.InvariantCulture, $"vsock://{ContextId}:{Port}")
        : string.Create(CultureInfo.InvariantCulture, $"hvsock://{Path}:{Port}");
}
