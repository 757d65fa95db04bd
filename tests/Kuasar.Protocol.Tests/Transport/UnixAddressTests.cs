using CsCheck;
using Kuasar.Protocol.Tests.Support;
using Kuasar.Protocol.Transport;

namespace Kuasar.Protocol.Tests.Transport;

public sealed class UnixAddressTests
{
    private const int MaxBytes = 107;

    /// <param name="address">As containerd or a user writes it.</param>
    /// <param name="endPoint">As .NET shows the endpoint: @ for the abstract namespace.</param>
    [Theory]
    [InlineData("/run/a.sock", "/run/a.sock")]
    [InlineData("unix:///run/a.sock", "/run/a.sock")]
    [InlineData("unix://@a/b", "@a/b")]
    [InlineData("@a", "@a")]
    [InlineData("containerd-shim/abc.sock", "@containerd-shim/abc.sock")]
    [InlineData("unix://relative", "relative")]
    public void Spellings(string address, string endPoint)
    {
        Assert.Equal(endPoint, UnixAddress.Parse(address).ToString());
        Assert.Equal(endPoint, UnixAddress.Show(address));
    }

    [Theory]
    [InlineData("")]
    [InlineData("@")]
    [InlineData("unix://")]
    [InlineData("unix://@")]
    [InlineData("unix://\0a")]
    [InlineData("/a\0b")]
    [InlineData("tcp://1.2.3.4:5")]
    [InlineData("vsock://3:1024")]
    [InlineData("UNIX:///run/a")]
    public void NoAddress(string address) => Assert.ThrowsAny<ArgumentException>(() => UnixAddress.Parse(address));

    [Theory]
    [InlineData("/", 0)]
    [InlineData("unix:///", 0)]
    [InlineData("@", -1)] // the abstract namespace's leading zero is shown as @, and needs no end
    public void Length_UpToTheKernels(string prefix, int more)
    {
        var fitting = prefix + new string('a', MaxBytes - 1 + (more < 0 ? 1 : 0));
        UnixAddress.Parse(fitting);
        Assert.ThrowsAny<ArgumentException>(() => UnixAddress.Parse(fitting + "a"));
    }

    [Fact]
    public void AnyText_IsAnAddressOrRefused_AndShownAsWhatItIs() =>
        Gen.Select(Gen.OneOf("", "/", "@", "unix://", "unix:///", "unix://@", "tcp://"), Arbitrary.Text).Sample((prefix, rest) =>
        {
            var address = prefix + rest;
            System.Net.Sockets.UnixDomainSocketEndPoint endPoint;
            try
            {
                endPoint = UnixAddress.Parse(address);
            }
            catch (ArgumentException)
            {
                return;
            }
            Assert.Equal(endPoint.ToString(), UnixAddress.Show(address));
            // What is shown is an address of the same socket, unless it is a relative path, which is then taken for a name.
            if (endPoint.ToString() is ['/' or '@', ..] shown)
            {
                Assert.Equal(endPoint, UnixAddress.Parse(shown));
            }
        }, iter: Arbitrary.Cases);
}
