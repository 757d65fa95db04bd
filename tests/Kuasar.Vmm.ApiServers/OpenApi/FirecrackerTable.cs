namespace Kuasar.Vmm.ApiServers.OpenApi;

/// <summary>
/// What of Firecracker's <c>src/firecracker/swagger/firecracker.yaml</c> (1.17.0-dev) a driver may use. Its DELETE, the unplugging of a device, is
/// not in the file but in <c>docs/device-hotplug.md</c>.
/// </summary>
internal static class FirecrackerTable
{
    internal static readonly ApiTable Table = new(
        """
        InstanceInfo: app_name! string; id! string; state! Not started|Running|Paused; vmm_version! string
        FirecrackerVersion: firecracker_version! string
        InstanceActionInfo: action_type! FlushMetrics|InstanceStart|SendCtrlAltDel
        BootSource: boot_args string; initrd_path string; kernel_image_path! string
        MachineConfiguration: smt boolean; mem_size_mib! integer; track_dirty_pages boolean; vcpu_count! integer; huge_pages None|Transparent|2M
        Drive: drive_id! string; is_root_device! boolean; partuuid string; cache_type Unsafe|Writeback; is_read_only boolean; path_on_host string; io_engine Sync|Async
        NetworkInterface: guest_mac string; host_dev_name! string; iface_id! string; mtu integer
        Vsock: guest_cid! integer; uds_path! string
        SerialDevice: serial_out_path string
        EntropyDevice: rate_limiter RateLimiter
        RateLimiter: bandwidth TokenBucket; ops TokenBucket
        TokenBucket: size! integer; one_time_burst integer; refill_time! integer
        Vm: state! Paused|Resumed
        SnapshotCreateParams: mem_file_path! string; snapshot_path! string; snapshot_type Full|Diff
        SnapshotLoadParams: track_dirty_pages boolean; mem_backend MemoryBackend; snapshot_path! string; resume_vm boolean; network_overrides [NetworkOverride]; vsock_override VsockOverride; clock_realtime boolean
        MemoryBackend: backend_type! File|Uffd; backend_path! string
        NetworkOverride: iface_id! string; host_dev_name! string
        VsockOverride: uds_path! string
        MemoryHotplugConfig: total_size_mib integer; slot_size_mib integer; block_size_mib integer
        MemoryHotplugSizeUpdate: requested_size_mib integer
        MemoryHotplugStatus: total_size_mib integer; slot_size_mib integer; block_size_mib integer; plugged_size_mib integer; requested_size_mib integer
        """,
        """
        GET    /                               -                       200
        GET    /version                        -                       200
        PUT    /actions                        InstanceActionInfo      204 400
        PUT    /boot-source                    BootSource              204 400
        PUT    /machine-config                 MachineConfiguration    204 400
        PUT    /drives/{drive_id}              Drive                   204 400
        PUT    /network-interfaces/{iface_id}  NetworkInterface        204 400
        PUT    /vsock                          Vsock                   204 400
        PUT    /serial                         SerialDevice            204
        PUT    /entropy                        EntropyDevice           204
        PATCH  /vm                             Vm                      204 400
        PUT    /snapshot/create                SnapshotCreateParams    204 400
        PUT    /snapshot/load                  SnapshotLoadParams      204 400
        PUT    /hotplug/memory                 MemoryHotplugConfig     204
        PATCH  /hotplug/memory                 MemoryHotplugSizeUpdate 204
        GET    /hotplug/memory                 -                       200
        DELETE /drives/{drive_id}              -                       204 400
        DELETE /network-interfaces/{iface_id}  -                       204 400
        """);
}
