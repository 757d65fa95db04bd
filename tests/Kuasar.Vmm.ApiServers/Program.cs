using Kuasar.Vmm.ApiServers.CloudHypervisor;
using Kuasar.Vmm.ApiServers.Firecracker;

// Started as the VMMs are: with --api-socket path=S it is Cloud Hypervisor, with --api-sock S Firecracker.
if (args is ["--version"])
{
    Console.WriteLine("kuasar-vmm-api-servers");
    return 0;
}
var server = args.Contains("--api-sock") ? FirecrackerProcess.RunAsync(args) : CloudHypervisorProcess.RunAsync(args);
return await server;
