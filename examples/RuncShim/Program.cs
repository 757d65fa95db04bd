// containerd's shim for the domain "runc": asks the resident kuasar-runc-sandboxer where the task service is, and is gone.
using Kuasar.Shim.Hosting;

return ShimHost.Run(args, new ShimOptions
{
    Name = "io.containerd.kuasar-runc.v1",
    Version = "0.1.0",
    Sandboxer = "runc",
});
