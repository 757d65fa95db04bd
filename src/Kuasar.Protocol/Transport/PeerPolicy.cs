using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol;

/// <summary>Which processes may connect to a unix socket. Asked once per connection, before a byte is read.</summary>
public abstract class PeerPolicy
{
    /// <summary>Everybody who can reach the socket file.</summary>
    public static PeerPolicy Any { get; } = new Rule(static _ => true);

    /// <summary>Processes of user 0.</summary>
    public static PeerPolicy Root { get; } = new Rule(static peer => peer.UserId == 0);

    /// <summary>Processes of our own effective user; what containerd asks of its clients, but for the group.</summary>
    public static PeerPolicy SameUser { get; } = new Rule(static peer => peer.UserId == Libc.GetEffectiveUserId());

    /// <summary>Whether this peer may connect. Must be quick and thread-safe; an exception refuses the peer.</summary>
    public abstract bool Allows(PeerCredentials peer);

    private sealed class Rule(Func<PeerCredentials, bool> allows) : PeerPolicy
    {
        public override bool Allows(PeerCredentials peer) => allows(peer);
    }
}
