using Kuasar.Vmm.Conformance.Tests.Bench;

namespace Kuasar.Vmm.Conformance.Tests.Drivers;

/// <summary>Cloud Hypervisor's driver against a server that holds to its OpenAPI file.</summary>
public sealed class CloudHypervisorConformance() : DriverConformance(Benches.CloudHypervisor());

/// <summary>Likewise, with the status codes that version 54 sends where its file has others.</summary>
public sealed class CloudHypervisorAsBuiltConformance() : DriverConformance(Benches.CloudHypervisor("--codes", "as-built"));

/// <summary>Firecracker's driver against a server that holds to its OpenAPI file.</summary>
public sealed class FirecrackerConformance() : DriverConformance(Benches.Firecracker(pci: false));

/// <summary>Likewise, with a PCI bus and so with hotplug.</summary>
public sealed class FirecrackerPciConformance() : DriverConformance(Benches.Firecracker(pci: true));

internal static class Benches
{
    internal static ApiServerBench CloudHypervisor(params string[] arguments) => new(
        new CloudHypervisor(new CloudHypervisorOptions
        {
            CloudHypervisor = new VmProgram(ApiServerBench.Program, arguments), Virtiofsd = ApiServerBench.Program,
        }),
        panic: VmExitReason.GuestPanic,
        powerOff: VmExitReason.GuestShutdown);

    internal static ApiServerBench Firecracker(bool pci) => new(
        new Firecracker(new FirecrackerOptions { Firecracker = ApiServerBench.Program, EnablePci = pci }),
        panic: VmExitReason.GuestReset,
        powerOff: VmExitReason.GuestReset);
}
