using Kuasar.Sandbox.Mounts;
using static Kuasar.Linux.Libc;

namespace Kuasar.Sandbox.Tests.Mounts;

public sealed class MountOptionsTests
{
    [Fact]
    public void Options_are_sorted_into_flags_and_data()
    {
        var options = MountOptions.Parse(
            ["rbind", "ro", "nosuid", "noexec", "exec", "defaults", "_netdev", "nofail", "x-systemd.automount", "X-mount.mkdir", "", "size=1m", "mode=755"]);

        Assert.Equal(MS_BIND | MS_REC | MS_RDONLY | MS_NOSUID, options.Flags);
        Assert.Equal(["size=1m", "mode=755"], options.Data);
        Assert.Empty(options.Propagation);
        Assert.False(options.Loop);
    }

    [Fact]
    public void Later_options_win() => Assert.Equal((nuint)0, MountOptions.Parse(["ro", "nodev", "rw", "dev"]).Flags);

    [Fact]
    public void Propagation_is_kept_apart()
    {
        var options = MountOptions.Parse(["bind", "rslave", "shared"]);
        Assert.Equal(MS_BIND, options.Flags);
        Assert.Equal([MS_SLAVE | MS_REC, MS_SHARED], options.Propagation);
    }

    [Fact]
    public void Direct_io_belongs_to_the_loop_device()
    {
        var options = MountOptions.Parse(["loop", "direct-io"]);
        Assert.True(options.Loop && options.DirectLoop);
        Assert.Empty(options.Data);
        Assert.Equal(["direct-io"], MountOptions.Parse(["direct-io"]).Data);
    }

    [Theory]
    [InlineData("X-containerd.mkdir.path=/x")]
    [InlineData("uidmap=0:1000:1")]
    public void What_cannot_be_obeyed_is_refused(string option) =>
        Assert.Contains(option, Assert.Throws<MountException>(() => MountOptions.Parse([option])).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("/a/b/1/fs:/a/b/2/fs", "/a/b/")]
    [InlineData("/a/b/12/fs:/a/b/13/fs", "/a/b/")]
    [InlineData("/a/b:/a/b/c", "/a/")]
    [InlineData("/a/b::/a/c", "/a/")]
    [InlineData(@"/a/b\:c/1:/a/b\:c/2", "/a/")]
    [InlineData("/a:/b", "/")]
    [InlineData("a/b:a/c", "")]
    [InlineData("", "")]
    public void The_common_parent_is_a_whole_folder(string folders, string parent) =>
        Assert.Equal(parent, OverlayLowerDirs.CommonParent(folders.Replace(@"\:", "\\\u0001", StringComparison.Ordinal).Split(':')));
}
