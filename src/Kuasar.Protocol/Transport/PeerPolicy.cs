using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol;

/// <summary>
/// Which processes may be at the other end of a unix socket: asked of a server's clients (<see cref="UnixSocketOptions"/>) and of
/// a client's server (<see cref="TtrpcClientOptions"/>) once per connection, before a byte is read or written. The ids are the
/// effective ones at the time of the peer's connect or listen, in our user namespace.
/// </summary>
public abstract class PeerPolicy
{
    /// <summary>Everybody who can reach the socket.</summary>
    public static PeerPolicy Any { get; } = new Rule(static _ => true);

    /// <summary>User 0 and group 0, as Go's UnixSocketRequireRoot.</summary>
    public static PeerPolicy Root { get; } = Match(0, 0);

    /// <summary>
    /// Our own effective user and group at the time of the question, as Go's UnixSocketRequireSameUser, which containerd uses.
    /// </summary>
    public static PeerPolicy SameUser { get; } = new Rule(
        static peer => peer.UserId == Libc.GetEffectiveUserId() && peer.GroupId == Libc.GetEffectiveGroupId());

    /// <summary>This user and this group, as Go's UnixSocketRequireUidGid. Supplementary groups do not count.</summary>
    /// <param name="userId">Null is any (Go: -1).</param>
    /// <param name="groupId">Null is any (Go: -1).</param>
    public static PeerPolicy Match(uint? userId, uint? groupId) => new Rule(
        peer => (userId ?? peer.UserId) == peer.UserId && (groupId ?? peer.GroupId) == peer.GroupId);

    /// <summary>Whether this peer may connect. Must be quick and thread-safe; an exception refuses the peer.</summary>
    public abstract bool Allows(PeerCredentials peer);

    private sealed class Rule(Func<PeerCredentials, bool> allows) : PeerPolicy
    {
        public override bool Allows(PeerCredentials peer) => allows(peer);
    }
}
