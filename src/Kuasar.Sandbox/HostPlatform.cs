using System.Runtime.InteropServices;
using Kuasar.Protocol.Contracts.Types;

namespace Kuasar.Sandbox;

/// <summary>This host as an OCI platform.</summary>
internal static class HostPlatform
{
    internal static Platform Current => new()
    {
        Os = "linux",
        Architecture = RuntimeInformation.OSArchitecture switch
        {
            Architecture.X64 => "amd64",
            Architecture.X86 => "386",
            var other => other.ToString().ToLowerInvariant(),
        },
    };
}
