using System.Net.Sockets;
using Kuasar.Vmm.ApiServers.Http;

namespace Kuasar.Vmm.ApiServers.Guests;

/// <summary>virtiofsd as its supervisor sees it: it listens, serves one connection, and ends with it.</summary>
internal static class VhostUserDaemon
{
    internal static async Task<int> RunAsync(string[] args)
    {
        if (!Directory.Exists(args.Value("--shared-dir")))
        {
            Console.Error.WriteLine($"{args.Value("--shared-dir")}: No such file or directory");
            return 1;
        }
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(args.Value("--socket-path")!));
        listener.Listen();
        // It is never removed.
        await File.WriteAllTextAsync(args.Value("--socket-path") + ".pid", $"{Environment.ProcessId}\n");
        using var connection = await listener.AcceptAsync();
        return await connection.ReceiveAsync(new byte[1]) == 0 ? 0 : 1;
    }
}
