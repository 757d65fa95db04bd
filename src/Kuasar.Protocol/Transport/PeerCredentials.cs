using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Kuasar.Protocol;

/// <summary>The process at the other end of a unix socket, as it was when it connected (SO_PEERCRED).</summary>
/// <param name="ProcessId">In our pid namespace; 0 when it has no pid there. May have been reused since.</param>
/// <param name="UserId">Effective user id.</param>
/// <param name="GroupId">Effective group id.</param>
public readonly record struct PeerCredentials(int ProcessId, uint UserId, uint GroupId)
{
    private const int SolSocket = 1;
    private const int SoPeerCred = 17;
    private const int Size = 12;

    /// <summary>Null for other than unix sockets. Throws <see cref="SocketException"/> when the kernel refuses.</summary>
    internal static PeerCredentials? Of(Socket socket)
    {
        if (socket.AddressFamily != AddressFamily.Unix)
        {
            return null;
        }
        // struct ucred { pid_t pid; uid_t uid; gid_t gid; }
        Span<byte> ucred = stackalloc byte[Size];
        socket.GetRawSocketOption(SolSocket, SoPeerCred, ucred);
        return MemoryMarshal.Read<PeerCredentials>(ucred);
    }
}
