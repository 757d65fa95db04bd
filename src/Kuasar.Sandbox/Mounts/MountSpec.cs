namespace Kuasar.Sandbox.Mounts;

/// <summary>A mount as containerd asks for it: options as in fstab; the target lies under the root file system, empty for the root itself.</summary>
internal sealed record MountSpec(string Type, string Source, string Target, IReadOnlyList<string> Options)
{
    internal static MountSpec From(Protocol.Contracts.Types.Mount mount) => new(mount.Type, mount.Source, mount.Target, mount.Options);
}

/// <summary>A mount that cannot be made; the message names it.</summary>
internal sealed class MountException(string message, Exception? inner = null) : IOException(message, inner);
