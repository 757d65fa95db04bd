using System.Text;
using Kuasar.Linux;

namespace Kuasar.Sandbox.Mounts;

/// <summary>Mounts what containerd asks for as a container's root file system, in the way of containerd's own mount package.</summary>
internal static class RootfsMounter
{
    // What a bind mount takes on only by being mounted once more.
    private const nuint PerMount = Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV | Libc.MS_NOEXEC | Libc.MS_NOSYMFOLLOW | Libc.MS_NOATIME |
        Libc.MS_NODIRATIME | Libc.MS_RELATIME | Libc.MS_STRICTATIME;

    /// <summary>Makes the mounts in order; the root folder is made if need be. All of them or, after an exception, none.</summary>
    /// <returns>The mount points in order, for <see cref="Unmount"/>.</returns>
    /// <exception cref="MountException">The message names the mount and what was wrong with it.</exception>
    internal static IReadOnlyList<string> Mount(IReadOnlyList<MountSpec> mounts, string rootfs)
    {
        var points = new List<string>(mounts.Count);
        var number = 0;
        try
        {
            Directory.CreateDirectory(rootfs);
            foreach (var mount in mounts)
            {
                number++;
                MountOne(mount, Resolve(rootfs, mount.Target), points);
            }
            return points;
        }
        catch (Exception e)
        {
            // One for each of ours: what may have been stacked there before stays.
            for (var i = points.Count - 1; i >= 0; i--)
            {
                Libc.UnmountTop(points[i]);
            }
            if (e is not IOException || number == 0)
            {
                throw;
            }
            var failed = mounts[number - 1];
            throw new MountException(
                $"mount {number} of {mounts.Count} ({failed.Type} {failed.Source} on {rootfs}/{failed.Target.TrimStart('/')}): {e.Message}", e);
        }
    }

    /// <summary>Unmounts in reverse order everything that is stacked on the mount points. One that is not mounted is no error.</summary>
    /// <exception cref="LinuxException">The first that could not be unmounted; the others are.</exception>
    internal static void Unmount(IReadOnlyList<string> mountPoints)
    {
        LinuxException? first = null;
        for (var i = mountPoints.Count - 1; i >= 0; i--)
        {
            try
            {
                Libc.UnmountAll(mountPoints[i]);
            }
            catch (LinuxException e)
            {
                first ??= e;
            }
        }
        if (first is not null)
        {
            throw first;
        }
    }

    private static void MountOne(MountSpec mount, string target, List<string> points)
    {
        var options = MountOptions.Parse(mount.Options);
        var flags = options.Flags;
        using var parent = mount.Type == "overlay" && !Fits(options.Data) ? OverlayLowerDirs.Shorten(options.Data) : null;
        if (!Fits(options.Data))
        {
            throw new MountException(
                $"its options take {Size(options.Data)} bytes, more than the {Environment.SystemPageSize - 1} that the kernel takes" +
                (parent is null ? "" : ", with shortened lower directories even"));
        }
        using var loop = options.Loop ? LoopDevice.Attach(mount.Source, (flags & Libc.MS_RDONLY) != 0, options.DirectLoop) : null;
        try
        {
            Libc.Mount(loop?.Path ?? mount.Source, target, mount.Type, flags, options.Data.Count == 0 ? null : string.Join(',', options.Data));
        }
        catch (LinuxException e) when (e.Errno == Libc.ENODEV)
        {
            throw new MountException($"the kernel does not know the filesystem type {mount.Type} of {target}", e);
        }
        if ((flags & Libc.MS_REMOUNT) != 0)
        {
            return;
        }
        points.Add(target);
        if ((flags & Libc.MS_BIND) != 0 && (flags & PerMount) != 0)
        {
            // mount(2): with MS_BIND all other flags but MS_REC are ignored. What the source's mount forbids stays forbidden.
            var kept = Libc.RestrictionsOf(target);
            Libc.Mount("", target, null, Libc.MS_BIND | Libc.MS_REMOUNT | (flags & PerMount) | kept, null);
        }
        foreach (var propagation in options.Propagation)
        {
            Libc.Mount("", target, null, propagation, null);
        }
    }

    /// <summary>The real path of a mount's target. Links in it are followed as the container would, so they end inside its root.</summary>
    private static string Resolve(string rootfs, string target)
    {
        if (target.Split('/').Contains(".."))
        {
            throw new MountException($"the target {target} leads out of the root file system");
        }
        using var root = Libc.Open(rootfs, Libc.O_PATH | Libc.O_DIRECTORY);
        var relative = target.Trim('/');
        using var handle = Libc.OpenInRoot(root, relative.Length == 0 ? "." : relative);
        return new FileInfo($"/proc/self/fd/{(int)handle.DangerousGetHandle()}").LinkTarget
            ?? throw new MountException($"the target {target} cannot be resolved");
    }

    // The last byte of the page is the terminating zero's.
    private static bool Fits(List<string> data) => Size(data) < Environment.SystemPageSize;

    private static int Size(List<string> data) => data.Sum(option => Encoding.UTF8.GetByteCount(option) + 1) - 1;
}
