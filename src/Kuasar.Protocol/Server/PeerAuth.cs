using System.Globalization;
using Grpc.Core;

namespace Kuasar.Protocol.Server;

/// <summary>A peer's credentials as gRPC shows them, for interceptors that know no other.</summary>
internal static class PeerAuth
{
    private const string Identity = "unix.uid";

    private static readonly AuthContext Nobody = new(null, []);

    /// <summary>The kernel vouches for the user: that is the peer's identity.</summary>
    internal static AuthContext Of(PeerCredentials? peer) => peer is not { } known
        ? Nobody
        : new AuthContext(Identity, new[] { ("unix.pid", known.ProcessId), (Identity, known.UserId), ("unix.gid", (long)known.GroupId) }
            .ToDictionary(pair => pair.Item1, pair => new List<AuthProperty> { Property(pair.Item1, pair.Item2) }));

    private static AuthProperty Property(string name, long value) =>
        AuthProperty.Create(name, System.Text.Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));
}
