using Kuasar.Vmm.ApiServers.CloudHypervisor;
using Kuasar.Vmm.ApiServers.Firecracker;
using Kuasar.Vmm.ApiServers.Guests;

// Started as the programs are: with --api-socket path=S it is Cloud Hypervisor, with --api-sock S Firecracker, with --shared-dir D virtiofsd.
if (args is ["--version"])
{
    Console.WriteLine("kuasar-vmm-api-servers");
    return 0;
}
var server = args.Contains("--shared-dir") ? VhostUserDaemon.RunAsync(args) : args.Contains("--api-sock") ? FirecrackerProcess.RunAsync(args) : CloudHypervisorProcess.RunAsync(args);
return await server;
