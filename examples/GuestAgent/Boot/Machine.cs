using System.Globalization;
using System.Text;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace GuestAgent.Boot;

/// <summary>
/// Makes of a kernel that has just started this program a machine that runs containers: the kernel's own file systems, its modules, cgroups v2,
/// the folder that the host shares. Pid 1 alone.
/// </summary>
internal static class Machine
{
    /// <summary>Where the host's folder is seen, and its tag.</summary>
    internal const string ShareFolder = "/run/kuasar/state", ShareTag = "kuasar";

    /// <summary>Paths of modules, one a line, in the order in which they are to be loaded; written with the image.</summary>
    private const string ModuleList = "/etc/kuasar/modules";

    private const nuint NoSuid = 2, NoDev = 4, NoExec = 8;

    internal static KernelCommandLine Start()
    {
        KeepRuntimeFromConsole();
        LeaveInitialRoot();
        MountKernel();
        Note("starts");
        var options = KernelCommandLine.Read();
        Libc.SetOpenFilesLimit(1 << 20);
        LoadModules();
        EnableCgroups();
        MountShare(options.ShareType);
        return options;
    }

    /// <summary>
    /// .NET's own writer to standard error takes the console over, and with it SIGCHLD, at whatever is logged first
    /// (<see cref="Libc.KeepRuntimeFromReaping"/>). This one does not.
    /// </summary>
    private static void KeepRuntimeFromConsole() =>
        Console.SetError(new StreamWriter(new FileStream(new SafeFileHandle(2, ownsHandle: false), FileAccess.Write, bufferSize: 0)) { AutoFlush = true });

    /// <summary>
    /// pivot_root, which OCI runtimes do for each container, refuses to leave the first root file system (the initramfs). So its folder becomes a
    /// mount that is not the first, in the place of the first: nothing is copied.
    /// </summary>
    private static void LeaveInitialRoot()
    {
        Libc.CreateFolders("/mnt", 0x1C0);
        Libc.Mount("/", "/mnt", null, Libc.MS_BIND, null);
        Libc.ChangeFolder("/mnt");
        Libc.Mount(".", "/", null, Libc.MS_MOVE, null);
        Libc.ChangeRoot(".");
        Libc.ChangeFolder("/");
    }

    private static void MountKernel()
    {
        Mount("proc", "/proc", NoSuid | NoDev | NoExec, null);
        Mount("sysfs", "/sys", NoSuid | NoDev | NoExec, null);
        Mount("devtmpfs", "/dev", NoSuid, "mode=0755");
        Mount("devpts", "/dev/pts", NoSuid | NoExec, "mode=0620,ptmxmode=0666,gid=5");
        Mount("tmpfs", "/dev/shm", NoSuid | NoDev, "mode=1777");
        Mount("tmpfs", "/run", NoSuid | NoDev, "mode=0755");
        Mount("tmpfs", "/tmp", NoSuid | NoDev, "mode=1777");
        Mount("cgroup2", "/sys/fs/cgroup", NoSuid | NoDev | NoExec, null);
        foreach (var (name, target) in ((string, string)[])[("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")])
        {
            File.CreateSymbolicLink("/dev/" + name, target);
        }
    }

    private static void Mount(string type, string folder, nuint flags, string? data)
    {
        Libc.CreateFolders(folder, 0x1ED /* 0755 */);
        Libc.Mount(type, folder, type, flags, data);
    }

    private static void LoadModules()
    {
        foreach (var module in File.Exists(ModuleList) ? File.ReadLines(ModuleList) : [])
        {
            try
            {
                Libc.LoadModule(module);
            }
            catch (LinuxException e)
            {
                // A guest without that device can do without it; what needs it says so.
                Say(e.Message);
            }
        }
    }

    /// <summary>Gives every controller to the cgroups below the root: a runtime gives them on to a container's.</summary>
    private static void EnableCgroups()
    {
        foreach (var controller in File.ReadAllText("/sys/fs/cgroup/cgroup.controllers").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
        {
            try
            {
                using var file = Libc.Open("/sys/fs/cgroup/cgroup.subtree_control", Libc.O_WRONLY);
                Libc.WriteAll(file, Encoding.ASCII.GetBytes("+" + controller), controller);
            }
            catch (LinuxException e)
            {
                Say(string.Create(CultureInfo.InvariantCulture, $"cgroup controller {controller}: {e.Message}"));
            }
        }
    }

    private static void MountShare(string type)
    {
        Libc.CreateFolders(ShareFolder, 0x1C0);
        if (type == "none")
        {
            return;
        }
        try
        {
            Libc.Mount(ShareTag, ShareFolder, type, 0, type == "9p" ? "trans=virtio,version=9p2000.L,cache=mmap" : null);
        }
        catch (LinuxException e)
        {
            Say(string.Create(CultureInfo.InvariantCulture, $"the host shares no folder: {e.Message}"));
        }
    }

    /// <summary>Takes the share away and switches off. Does not return.</summary>
    internal static void PowerOff()
    {
        Libc.UnmountAll(ShareFolder);
        Libc.PowerOff();
    }

    /// <summary>Into the kernel's log, between its own lines and with its time.</summary>
    internal static void Note(string text)
    {
        using var log = Libc.Open("/dev/kmsg", Libc.O_WRONLY);
        Libc.WriteAll(log, Encoding.UTF8.GetBytes($"<6>kuasar-guest-agent: {text}\n"), "/dev/kmsg");
    }

    /// <summary>To the console, before there is a log.</summary>
    private static void Say(string text) => Console.Error.WriteLine("kuasar-guest-agent: " + text);
}
