using System.Text;
using Kuasar.Linux;

namespace GuestAgent.Boot;

/// <summary>Takes processors and memory into use that the host plugs in; the kernel by itself leaves them off.</summary>
internal static class HotPlug
{
    private const int NETLINK_KOBJECT_UEVENT = 15, KernelGroup = 1;

    private const string AutoOnline = "/sys/devices/system/memory/auto_online_blocks";

    /// <summary>For as long as the machine runs.</summary>
    internal static void Watch()
    {
        if (File.Exists(AutoOnline))
        {
            File.WriteAllText(AutoOnline, "online");
        }
        new Thread(Hear, 256 * 1024) { IsBackground = true, Name = "hotplug" }.Start();
    }

    /// <summary>An event begins with <c>ACTION@PATH</c> and a zero byte; the path is that below /sys.</summary>
    private static void Hear()
    {
        using var events = Libc.OpenNetlink(NETLINK_KOBJECT_UEVENT, KernelGroup);
        var buffer = new byte[8192];
        while (true)
        {
            var count = Libc.Read(events, buffer);
            // Of a burst that was too much for the socket (ENOBUFS) some are lost, and the next are heard.
            if (count <= 0)
            {
                continue;
            }
            var text = Encoding.ASCII.GetString(buffer, 0, Math.Max(0, buffer.AsSpan(0, count).IndexOf((byte)0)));
            if (text.StartsWith("add@/devices/system/cpu/cpu", StringComparison.Ordinal))
            {
                TryWrite("/sys" + text["add@".Length..] + "/online", "1");
            }
        }
    }

    private static void TryWrite(string path, string value)
    {
        try
        {
            File.WriteAllText(path, value);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"kuasar-guest-agent: {e.Message}");
        }
    }
}
