// containerd's shim for the domain "vmm": asks the resident kuasar-vmm-sandboxer where the task service is, and is gone.
using Kuasar.Shim.Hosting;

return ShimHost.Run(args, new ShimOptions
{
    Name = "io.containerd.kuasar-vmm.v1",
    Version = "0.1.0",
    Sandboxer = "vmm",
});
