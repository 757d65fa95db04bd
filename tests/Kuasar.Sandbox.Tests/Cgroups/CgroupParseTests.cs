using Kuasar.Sandbox.Cgroups;

namespace Kuasar.Sandbox.Tests.Cgroups;

public sealed class CgroupParseTests
{
    private const string V2Mount = "29 24 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n";

    [Theory]
    [InlineData("0::/\n", "0::/user.slice\n")] // the root
    [InlineData("0::/user.slice\n", "0::/user.slice\n")] // ours
    [InlineData("0::/user.slice\n", "0::/user.slice/session\n")] // above ours
    [InlineData("0::/../outside\n", "0::/\n")] // outside of our cgroup namespace
    [InlineData("0::/box (deleted)\n", "0::/user.slice\n")]
    [InlineData("", "0::/user.slice\n")]
    [InlineData("nonsense\n4:memory\n", "0::/user.slice\n")]
    public void A_process_without_a_cgroup_of_its_own_has_none(string process, string own) =>
        Assert.Null(Cgroup.Parse(process, CgroupMount.Parse(V2Mount), own));

    [Theory]
    [InlineData("0::/user.slice/box\n", "0::/user.slice\n", "/sys/fs/cgroup/user.slice/box")] // below ours
    [InlineData("0::/user.slice2\n", "0::/user.slice\n", "/sys/fs/cgroup/user.slice2")]
    [InlineData("0::/a:b\n", "0::/\n", "/sys/fs/cgroup/a:b")]
    [InlineData("3:net_cls:/\n0::/box\n", "0::/\n", "/sys/fs/cgroup/box")] // v2 with an old controller on the side
    public void The_unified_folder_is_found(string process, string own, string folder)
    {
        var cgroup = Cgroup.Parse(process, CgroupMount.Parse(V2Mount + "30 24 0:27 / /sys/net_cls rw - cgroup cgroup rw,net_cls\n"), own);
        Assert.True(cgroup?.IsV2);
        Assert.Equal([folder], cgroup!.Folders);
    }

    [Fact]
    public void Only_the_controllers_that_are_its_own_count()
    {
        const string Mounts = """
            31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw
            32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
            35 31 0:32 /docker/x /mnt/my\040cgroups\134memory rw shared:3 master:4 - cgroup cgroup rw,memory
            36 31 0:33 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
            """;
        var cgroup = Cgroup.Parse("5:name=systemd:/box\n4:memory:/docker/x/box\n3:pids:/ours\n2:cpu:/\n0::/box\n", CgroupMount.Parse(Mounts), "3:pids:/ours\n");

        Assert.Equal([@"/mnt/my cgroups\memory/box"], cgroup?.Folders);
        Assert.False(cgroup!.IsV2);
        // A cgroup that this mount does not show.
        Assert.Null(Cgroup.Parse("4:memory:/docker/xy/box\n", CgroupMount.Parse(Mounts), ""));
        // Nothing but a named hierarchy: v2 has the controllers.
        Assert.True(Cgroup.Parse("5:name=systemd:/box\n0::/box\n", CgroupMount.Parse(Mounts), "")?.IsV2);
    }

    [Theory]
    [InlineData("42\n", 42ul)]
    [InlineData("max\n", 7ul)]
    [InlineData("-1\n", 0ul)]
    [InlineData("18446744073709551615", ulong.MaxValue)]
    [InlineData("", null)]
    [InlineData("4 2", null)]
    public void Numbers_are_read_as_containerd_reads_them(string text, ulong? value) => Assert.Equal(value, CgroupReader.Number(text, max: 7));

    [Fact]
    public void A_file_longer_than_the_buffer_is_read_whole()
    {
        var folder = Directory.CreateTempSubdirectory("kuasar-cgroup-");
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "f"), string.Concat(Enumerable.Range(0, 10_000).Select(i => $"key{i} {i}\n")));
            using var reader = new CgroupReader();
            Assert.Equal(9_999ul, reader.ReadValue(folder.FullName, "f", "key9999"));
            Assert.Null(reader.ReadValue(folder.FullName, "f", "absent"));
            Assert.Null(reader.ReadNumber(folder.FullName, "f"));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_process_that_is_gone_has_no_cgroup()
    {
        Assert.Null(Cgroup.OfProcess(int.MaxValue));
        Assert.Null(Cgroup.OfProcess(Environment.ProcessId));
    }
}
