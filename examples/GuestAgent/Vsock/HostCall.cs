using Kuasar.Linux;

namespace GuestAgent.Vsock;

/// <summary>Tells the host that the agent serves: by connecting to a port of the host's, and no more.</summary>
internal static class HostCall
{
    private const uint HostCid = 2;
    private const int Tries = 5;

    /// <summary>In the background: where nobody listens, each try takes two seconds. The host may ask by itself instead.</summary>
    internal static void Begin(uint port, Action<string> log)
    {
        var thread = new Thread(() => Call(port, log), 256 * 1024) { IsBackground = true, Name = "call-home" };
        thread.Start();
    }

    private static void Call(uint port, Action<string> log)
    {
        for (var i = 0; i < Tries; i++)
        {
            using var connection = Libc.TryConnectVsock(HostCid, port);
            if (connection is not null)
            {
                return;
            }
            // Some devices refuse at once.
            Thread.Sleep(100);
        }
        log($"nobody listens on the host's port {port}");
    }
}
