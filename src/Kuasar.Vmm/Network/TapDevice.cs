using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm;

/// <summary>A tap in a pod's network namespace that carries all that one of its interfaces does. It belongs to its <see cref="GuestNetwork"/>.</summary>
public sealed class TapDevice
{
    internal TapDevice(string name, string interfaceName, string macAddress, int mtu, SafeFileHandle? handle)
    {
        Name = name;
        InterfaceName = interfaceName;
        MacAddress = macAddress;
        Mtu = mtu;
        Handle = handle;
    }

    /// <summary>Its name in the namespace: tap_kua_ and the index of the interface.</summary>
    public string Name { get; }

    /// <summary>The pod's interface, and what the guest's is to be called.</summary>
    public string InterfaceName { get; }

    /// <summary>The interface's address, which the guest's virtio-net device must have: neighbours know it.</summary>
    public string MacAddress { get; }

    /// <summary>Bytes in a frame's payload.</summary>
    public int Mtu { get; }

    /// <summary>
    /// The open tap (frames behind a virtio_net_hdr of ten bytes), to be given to the hypervisor; close-on-exec. Null when it is to be
    /// opened by its name, in the namespace. The tap goes when the last copy is closed.
    /// </summary>
    public SafeFileHandle? Handle { get; }
}
