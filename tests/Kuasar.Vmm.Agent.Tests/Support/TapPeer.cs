using System.Buffers.Binary;
using Kuasar.Linux;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Agent.Tests.Support;

/// <summary>
/// A guest at the other end of a tap, as small as can be: it answers ARP for 10.77.0.2 and sends every UDP packet to it back.
/// </summary>
internal sealed class TapPeer(SafeFileHandle tap, byte[] mac)
{
    private const int VirtioHeader = 10, Ethernet = VirtioHeader, Arp = Ethernet + 14, Ip = Ethernet + 14, Udp = Ip + 20;
    private static readonly byte[] s_address = [10, 77, 0, 2];

    public int Arps { get; private set; }

    /// <summary>Answers until it has sent a UDP packet back; null when none comes in time, else its payload.</summary>
    public byte[]? Serve(TimeSpan time)
    {
        var frame = new byte[4096];
        var deadline = Deadline.After(time);
        while (!deadline.IsOver)
        {
            if (!Libc.WaitReadable(tap, deadline.Remaining))
            {
                return null;
            }
            var length = Libc.Read(tap, frame);
            Assert.True(length > 0, $"read(tap): {length}");
            var type = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(Ethernet + 12));
            if (type == 0x0806 && frame[Arp + 7] == 1 && frame.AsSpan(Arp + 24, 4).SequenceEqual(s_address))
            {
                Arps++;
                Answer(frame, length, static (frame, mac) =>
                {
                    frame[Arp + 7] = 2;
                    frame.AsSpan(Arp + 8, 10).CopyTo(frame.AsSpan(Arp + 18));
                    mac.CopyTo(frame.AsSpan(Arp + 8));
                    s_address.CopyTo(frame.AsSpan(Arp + 14));
                });
            }
            else if (type == 0x0800 && frame[Ip + 9] == 17 && frame.AsSpan(Ip + 16, 4).SequenceEqual(s_address))
            {
                var payload = frame[(Udp + 8)..length];
                Answer(frame, length, static (frame, _) =>
                {
                    Swap(frame.AsSpan(Ip + 12, 4), frame.AsSpan(Ip + 16, 4)); // the header's sum stays
                    Swap(frame.AsSpan(Udp, 2), frame.AsSpan(Udp + 2, 2));
                    frame.AsSpan(Udp + 6, 2).Clear(); // no sum
                });
                return payload;
            }
        }
        return null;
    }

    private void Answer(byte[] frame, int length, Action<byte[], byte[]> turn)
    {
        frame.AsSpan(0, VirtioHeader).Clear();
        frame.AsSpan(Ethernet + 6, 6).CopyTo(frame.AsSpan(Ethernet));
        mac.CopyTo(frame.AsSpan(Ethernet + 6));
        turn(frame, mac);
        Assert.Equal(length, Libc.Write(tap, frame.AsSpan(0, length)));
    }

    private static void Swap(Span<byte> a, Span<byte> b)
    {
        var kept = a.ToArray();
        b.CopyTo(a);
        kept.CopyTo(b);
    }
}
