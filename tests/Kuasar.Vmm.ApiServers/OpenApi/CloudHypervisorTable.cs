namespace Kuasar.Vmm.ApiServers.OpenApi;

/// <summary>
/// What of Cloud Hypervisor's <c>vmm/src/api/openapi/cloud-hypervisor.yaml</c> (API 0.3.0) a driver may use: names, types and codes. The tests
/// compare it with the file itself where that is there.
/// </summary>
internal static class CloudHypervisorTable
{
    internal const string Prefix = "/api/v1";

    internal static readonly ApiTable Table = new(
        """
        VmmPingResponse: build_version string; version! string; pid integer; features [string]
        VmInfo: config! VmConfig; state! Created|Running|Shutdown|Paused|BreakPoint; memory_actual_size integer; device_tree object
        PciDeviceInfo: id! string; bdf! string
        VmConfig: cpus CpusConfig; memory MemoryConfig; payload! PayloadConfig; disks [DiskConfig]; net [NetConfig]; fs [FsConfig]; serial SerialConfig; console ConsoleConfig; vsock VsockConfig; rng RngConfig; watchdog boolean; pvpanic boolean
        CpusConfig: boot_vcpus! integer; max_vcpus! integer
        MemoryConfig: size! integer; hotplug_size integer; hotplugged_size integer; hotplug_method string; shared boolean; mergeable boolean; hugepages boolean; prefault boolean
        PayloadConfig: firmware string; kernel string; cmdline string; initramfs string
        DiskConfig: path string; readonly boolean; direct boolean; num_queues integer; queue_size integer; id string; serial string; image_type FixedVhd|Qcow2|Raw|Vhdx|Unknown
        NetConfig: tap string; mac string; mtu integer; num_queues integer; queue_size integer; id string
        FsConfig: tag! string; socket! string; num_queues! integer; queue_size! integer; id string
        SerialConfig: file string; socket string; mode! Off|Pty|Tty|File|Socket|Null
        ConsoleConfig: file string; socket string; mode! Off|Pty|Tty|File|Socket|Null
        RngConfig: src! string
        VsockConfig: cid! integer; socket! string; id string
        VmResize: desired_vcpus integer; desired_ram integer; desired_balloon integer
        VmRemoveDevice: id string
        VmSnapshotConfig: destination_url string
        RestoreConfig: source_url! string; prefault boolean; memory_restore_mode Copy|OnDemand; resume boolean
        """,
        """
        GET /vmm.ping          -                200
        PUT /vmm.shutdown      -                204
        GET /vm.info           -                200 404
        PUT /vm.create         VmConfig         204
        PUT /vm.delete         -                204
        PUT /vm.boot           -                204 404
        PUT /vm.pause          -                204 404 405
        PUT /vm.resume         -                204 404 405
        PUT /vm.shutdown       -                204 404 405
        PUT /vm.reboot         -                204 404 405
        PUT /vm.power-button   -                204 404 405
        PUT /vm.resize         VmResize         204 404 429
        PUT /vm.remove-device  VmRemoveDevice   204 404
        PUT /vm.add-disk       DiskConfig       200 204 400 404 409 500
        PUT /vm.add-fs         FsConfig         200 204 400 404 409 500
        PUT /vm.add-net        NetConfig        200 204 400 404 409 500
        PUT /vm.snapshot       VmSnapshotConfig 204 404 405
        PUT /vm.restore        RestoreConfig    204 400 404 409
        """);
}
