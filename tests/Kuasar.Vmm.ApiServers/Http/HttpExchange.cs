using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.ApiServers.Http;

/// <summary>A request as the VMMs' HTTP servers see one: they know no queries and few headers. Files may have come beside it.</summary>
internal sealed record HttpRequest(string Method, string Path, byte[]? Body, IReadOnlyList<SafeFileHandle> Files);

/// <summary>An answer. <paramref name="After"/> runs when it has been sent: a VMM answers before it goes.</summary>
internal sealed record HttpResponse(int Status, string? Body = null, Action? After = null);

/// <summary>A request that breaks the protocol.</summary>
internal sealed class HttpFormatException(string message) : Exception(message);
