using System.CommandLine;
using Kuasar.Vmm;
using VmmSandboxer;

var kernel = new Option<string>("--kernel") { Description = "The guest's kernel (eng/guest-image.sh makes one)", Required = true };
var initrd = new Option<string>("--initrd") { Description = "The guest's initial ram disk, with the agent", Required = true };
var prefix = new Option<string?>("--prefix")
{
    Description = "Where packages of QEMU, virtiofsd and vhost-device-vsock were unpacked (eng/vmm.sh); default: those of the host",
};
var accelerator = new Option<QemuAccelerator>("--accelerator")
{
    Description = "Who runs guests; automatic: KVM where one really boots with it",
    DefaultValueFactory = _ => QemuAccelerator.Automatic,
};
var memory = new Option<int>("--memory") { Description = "MiB of a pod's guest, and beside the pod's own limit", DefaultValueFactory = _ => 256 };
var vcpus = new Option<int>("--vcpus") { Description = "Of a pod without a limit", DefaultValueFactory = _ => 1 };
var command = new SandboxerCommand(
    "vmm", "Runs each pod of a node's containerd in a virtual machine of its own.", [kernel, initrd, prefix, accelerator, memory, vcpus],
    arguments =>
    {
        var options = arguments.GetValue(prefix) is { } folder ? QemuOptions.FromPrefix(Path.GetFullPath(folder)) : new QemuOptions();
        return new VmmSandboxer.VmmSandboxer(
            new QemuHypervisor(options with { Accelerator = arguments.GetValue(accelerator) }),
            new GuestDefaults
            {
                Kernel = Path.GetFullPath(arguments.GetRequiredValue(kernel)),
                Initrd = Path.GetFullPath(arguments.GetRequiredValue(initrd)),
                MemoryBytes = (long)arguments.GetRequiredValue(memory) << 20,
                Vcpus = arguments.GetRequiredValue(vcpus),
            });
    });
return await command.RunAsync(args);
