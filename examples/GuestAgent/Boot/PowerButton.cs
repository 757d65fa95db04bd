using System.Buffers.Binary;
using Kuasar.Linux;

namespace GuestAgent.Boot;

/// <summary>The button that a hypervisor presses to have the guest switched off in peace (ACPI).</summary>
internal static class PowerButton
{
    private const int EventSize = 24, KeyEvent = 1, PowerKey = 116;

    /// <summary>For as long as the machine runs; a machine without such a button is left alone.</summary>
    internal static void Watch(Action pressed)
    {
        foreach (var device in Directory.Exists("/sys/class/input") ? Directory.GetDirectories("/sys/class/input", "event*") : [])
        {
            if (File.ReadAllText(device + "/device/name").Trim() == "Power Button")
            {
                new Thread(() => Read("/dev/input/" + Path.GetFileName(device), pressed), 256 * 1024) { IsBackground = true, Name = "power-button" }.Start();
            }
        }
    }

    /// <summary>struct input_event: two longs of time, u16 type, u16 code, i32 value (1: pressed).</summary>
    private static void Read(string path, Action pressed)
    {
        using var events = Libc.Open(path, Libc.O_RDONLY);
        Span<byte> one = stackalloc byte[EventSize];
        while (Libc.Read(events, one) is EventSize or (-Libc.EINTR))
        {
            if (BinaryPrimitives.ReadUInt16LittleEndian(one[16..]) == KeyEvent && BinaryPrimitives.ReadUInt16LittleEndian(one[18..]) == PowerKey &&
                BinaryPrimitives.ReadInt32LittleEndian(one[20..]) == 1)
            {
                pressed();
            }
        }
    }
}
