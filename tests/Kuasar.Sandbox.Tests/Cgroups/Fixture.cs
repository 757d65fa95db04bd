using Kuasar.Sandbox.Cgroups;

namespace Kuasar.Sandbox.Tests.Cgroups;

/// <summary>Machines as folders of the kernel's files: pid 4242 is in a container's cgroup.</summary>
internal static class Fixture
{
    internal static string Folder(string machine) => Path.Combine(AppContext.BaseDirectory, "Cgroups/Fixtures", machine);

    internal static string Proc(string machine, string file) => File.ReadAllText(Path.Combine(Folder(machine), "proc", file));

    internal static Cgroup Open(string machine, string? root = null) =>
        Cgroup.Parse(Proc(machine, "4242/cgroup"), CgroupMount.Parse(Proc(machine, "self/mountinfo")), Proc(machine, "self/cgroup"), root ?? Folder(machine))!;
}
