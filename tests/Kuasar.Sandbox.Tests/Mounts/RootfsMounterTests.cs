using Kuasar.Linux;
using Kuasar.Sandbox.Mounts;

namespace Kuasar.Sandbox.Tests.Mounts;

/// <summary>Real mounts below a temporary folder.</summary>
public sealed class RootfsMounterTests : IDisposable
{
    private readonly string _folder;
    private readonly string _rootfs;

    public RootfsMounterTests()
    {
        Assert.SkipUnless(Libc.EffectiveUserId == 0, "mounting needs root");
        _folder = Directory.CreateTempSubdirectory("kuasar-mounts-").FullName;
        _rootfs = Path.Combine(_folder, "bundle/rootfs");
        Directory.CreateDirectory(_rootfs);
    }

    public void Dispose()
    {
        foreach (var mount in Enumerable.Reverse(Mounts()))
        {
            Libc.UnmountAll(mount);
        }
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void A_bind_is_read_only_when_asked_and_keeps_what_its_source_forbids()
    {
        var source = NewFolder("source", "file");
        RootfsMounter.Mount([new("tmpfs", "tmpfs", "", ["nosuid", "nodev", "mode=755"])], source);
        File.WriteAllText(Path.Combine(source, "file"), "x");

        var points = RootfsMounter.Mount([new("bind", source, "", ["rbind", "ro", "rprivate"])], _rootfs);

        Assert.Equal([_rootfs], points);
        Assert.Equal("x", File.ReadAllText(Path.Combine(_rootfs, "file")));
        Assert.ThrowsAny<Exception>(() => File.WriteAllText(Path.Combine(_rootfs, "file"), "y"));
        Assert.Equal(Libc.MS_RDONLY | Libc.MS_NOSUID | Libc.MS_NODEV, Libc.RestrictionsOf(_rootfs));
        // The source itself stays as it was.
        File.WriteAllText(Path.Combine(source, "file"), "y");
    }

    [Fact]
    public void A_bind_without_ro_is_writable_and_a_file_can_be_bound()
    {
        var source = NewFolder("source", "file");
        var points = RootfsMounter.Mount([new("bind", source, "", ["rbind", "rw"]), new("bind", "/etc/hostname", "file", ["bind", "noexec"])], _rootfs);

        Assert.Equal([_rootfs, Path.Combine(_rootfs, "file")], points);
        Assert.Equal(File.ReadAllText("/etc/hostname"), File.ReadAllText(Path.Combine(_rootfs, "file")));
        Assert.Equal(Libc.MS_NOEXEC, Libc.RestrictionsOf(points[1]) & Libc.MS_NOEXEC);
        File.WriteAllText(Path.Combine(_rootfs, "other"), "");
        RootfsMounter.Unmount(points);
        Assert.Empty(Mounts());
    }

    [Theory]
    [InlineData("shared", "shared:")]
    [InlineData("unbindable", "unbindable")]
    public void Propagation_is_set_after_the_mount(string option, string field)
    {
        RootfsMounter.Mount([new("tmpfs", "tmpfs", "", ["size=64k", option])], _rootfs);
        Assert.Contains(field, File.ReadLines("/proc/self/mountinfo").Single(line => line.Contains($" {_rootfs} ", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    [Fact]
    public void Unmounting_twice_is_no_error()
    {
        var points = RootfsMounter.Mount([new("tmpfs", "tmpfs", "", ["size=64k"]), new("tmpfs", "again", "", [])], _rootfs);
        Assert.Equal(2, Mounts().Count);

        RootfsMounter.Unmount(points);
        RootfsMounter.Unmount(points);
        Assert.Empty(Mounts());

        Directory.Delete(_rootfs);
        RootfsMounter.Unmount(points);
    }

    [Theory]
    [InlineData(2, 10)]
    [InlineData(60, 100)]
    public void Overlays_show_all_their_layers(int layers, int nameLength)
    {
        var snapshots = Path.Combine(_folder, new string('s', nameLength));
        var lower = Enumerable.Range(0, layers).Select(i => NewFolder($"{snapshots}/{i}/fs", $"from-{i}")).ToArray();
        var upper = NewFolder($"{snapshots}/upper/fs", "own");
        var work = NewFolder($"{snapshots}/upper/work");
        string[] options = ["index=off", $"workdir={work}", $"upperdir={upper}", $"lowerdir={string.Join(':', lower)}"];
        Assert.Equal(layers == 60, string.Join(',', options).Length > 4096);

        var points = RootfsMounter.Mount([new("overlay", "overlay", "", options)], _rootfs);

        Assert.Equal(layers + 1, Directory.GetFiles(_rootfs).Length);
        File.WriteAllText(Path.Combine(_rootfs, "new"), "");
        Assert.True(File.Exists(Path.Combine(upper, "new")));
        RootfsMounter.Unmount(points);
        Assert.Empty(Directory.GetFiles(_rootfs));
    }

    [Fact]
    public void An_overlay_that_does_not_fit_even_shortened_is_refused()
    {
        var lower = Enumerable.Range(0, 60).Select(i => NewFolder($"{i}/{new string('x', 100)}"));
        var e = Assert.Throws<MountException>(() => RootfsMounter.Mount([new("overlay", "overlay", "", [$"lowerdir={string.Join(':', lower)}"])], _rootfs));
        Assert.Contains("with shortened lower directories even", e.Message, StringComparison.Ordinal);
        Assert.Empty(Mounts());
    }

    [Fact]
    public void An_unknown_type_is_named_with_its_target()
    {
        var e = Assert.Throws<MountException>(() => RootfsMounter.Mount([new("nosuchfs", "none", "", [])], _rootfs));
        Assert.Contains($"the kernel does not know the filesystem type nosuchfs of {_rootfs}", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_failure_in_the_middle_undoes_what_came_before_and_no_more()
    {
        var before = RootfsMounter.Mount([new("tmpfs", "before", "", [])], _rootfs);
        Directory.CreateDirectory(Path.Combine(_rootfs, "a"));

        var e = Assert.Throws<MountException>(() => RootfsMounter.Mount(
            [new("tmpfs", "one", "/a", []), new("tmpfs", "two", "/a", []), new("tmpfs", "three", "/missing", []), new("tmpfs", "four", "/a", [])], _rootfs));

        Assert.StartsWith($"mount 3 of 4 (tmpfs three on {_rootfs}/missing): ", e.Message, StringComparison.Ordinal);
        Assert.Equal(before, Mounts());
    }

    [Theory]
    [InlineData("../outside")]
    [InlineData("a/../../outside")]
    [InlineData("link/outside")] // the link leads to the absolute path of the folder above, which is not inside the root
    [InlineData("up/outside")]
    public void A_target_cannot_leave_the_root(string target)
    {
        NewFolder("bundle/outside");
        NewFolder("bundle/rootfs/a");
        File.CreateSymbolicLink(Path.Combine(_rootfs, "link"), Path.Combine(_folder, "bundle"));
        File.CreateSymbolicLink(Path.Combine(_rootfs, "up"), "..");

        Assert.Throws<MountException>(() => RootfsMounter.Mount([new("tmpfs", "tmpfs", target, [])], _rootfs));
        Assert.Empty(Mounts());
    }

    [Fact]
    public void A_link_in_a_target_ends_inside_the_root()
    {
        NewFolder("bundle/rootfs/etc");
        File.CreateSymbolicLink(Path.Combine(_rootfs, "link"), "/etc");
        Assert.Equal([Path.Combine(_rootfs, "etc")], RootfsMounter.Mount([new("tmpfs", "tmpfs", "/link/", [])], _rootfs));
    }

    [Fact]
    public void A_file_is_mounted_through_a_loop_device_that_is_freed()
    {
        Assert.SkipUnless(File.Exists("/dev/loop-control"), "no /dev/loop-control");
        var mkfs = "/usr/sbin/mkfs.ext4";
        Assert.SkipUnless(File.Exists(mkfs), $"no {mkfs}");
        var image = Path.Combine(_folder, "image");
        using (var file = File.Create(image))
        {
            file.SetLength(4 << 20);
        }
        var pid = Libc.Spawn(new SpawnRequest(mkfs, ["-q", "-F", image]));
        int? status;
        while ((status = Libc.TryReap(pid)) is null)
        {
            Thread.Sleep(5);
        }
        Assert.Equal(0, status);

        var points = RootfsMounter.Mount([new("ext4", image, "", ["loop", "ro"])], _rootfs);

        Assert.True(Directory.Exists(Path.Combine(_rootfs, "lost+found")));
        Assert.Contains(image, BackingFiles());
        RootfsMounter.Unmount(points);
        for (var i = 0; i < 100 && BackingFiles().Contains(image); i++)
        {
            Thread.Sleep(10);
        }
        Assert.DoesNotContain(image, BackingFiles());
    }

    private static List<string> BackingFiles() =>
        [.. Directory.GetDirectories("/sys/block", "loop*").Select(d => Path.Combine(d, "loop/backing_file")).Where(File.Exists).Select(f => File.ReadAllText(f).Trim())];

    private List<string> Mounts() =>
        [.. File.ReadLines("/proc/self/mountinfo").Select(line => line.Split(' ')[4]).Where(point => point.StartsWith(_folder, StringComparison.Ordinal))];

    private string NewFolder(string name, string? file = null)
    {
        var path = Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;
        if (file is not null)
        {
            File.WriteAllText(Path.Combine(path, file), "");
        }
        return path;
    }
}
