namespace Kuasar.Protocol.Tests.Client;

public sealed class AddressTests
{
    [Theory]
    [InlineData("unix:///run/a.sock", "/run/a.sock", "/run/a.sock")]
    [InlineData("/run/a.sock", "/run/a.sock", "/run/a.sock")]
    [InlineData("unix://@name", "@name", "@name")]
    [InlineData("name/shim.sock", "@name/shim.sock", "@name/shim.sock")]
    [InlineData("@name", "@name", "@name")]
    public void Address_Spellings(string address, string endPoint, string shown)
    {
        Assert.Equal(endPoint, Protocol.Transport.UnixAddress.Parse(address).ToString());
        Assert.Equal(shown, Protocol.Transport.UnixAddress.Show(address));
    }

    [Theory]
    [InlineData("tcp://1.2.3.4:5")]
    [InlineData("unix://")]
    [InlineData("")]
    public void Address_ThatNamesNoUnixSocket(string address) =>
        Assert.ThrowsAny<ArgumentException>(() => Protocol.Transport.UnixAddress.Parse(address));
}
