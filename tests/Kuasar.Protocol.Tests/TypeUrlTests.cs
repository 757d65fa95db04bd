using CsCheck;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Kuasar.Protocol.Contracts.Ttrpc;
using Kuasar.Protocol.Tests.Protos;
using Kuasar.Protocol.Tests.Support;

namespace Kuasar.Protocol.Tests;

public sealed class TypeUrlTests
{
    [Fact]
    public void Message_PackedAndUnpacked_IsTheSame_UnderAnyPrefix() => Gen.Select(Arbitrary.Requests, Arbitrary.Text).Sample((request, prefix) =>
    {
        var any = TypeUrl.Pack(request);
        Assert.Equal("ttrpc.Request", any.TypeUrl);
        foreach (var url in new[] { any.TypeUrl, $"{prefix}/{any.TypeUrl}", $"type.googleapis.com/{any.TypeUrl}", "/" + any.TypeUrl })
        {
            Assert.True(TypeUrl.TryUnpack<Request>(new Any { TypeUrl = url, Value = any.Value }, out var back));
            Assert.Equal(request, back);
        }
    }, iter: Arbitrary.Cases);

    [Fact]
    public void AnotherUrl_IsAnotherType() => Gen.Select(Arbitrary.Text, Arbitrary.ByteStrings).Sample((url, value) =>
    {
        foreach (var other in new[] { url, url + "ttrpc.Request/", "ttrpc.Request" + url + "x", "ttrpc.request", "x" + url.Replace("/", "") + "ttrpc.Request" })
        {
            Assert.False(TypeUrl.TryUnpack<Request>(new Any { TypeUrl = other, Value = value }, out var message));
            Assert.Null(message);
        }
        Assert.False(TypeUrl.Is<Request>(null));
    }, iter: Arbitrary.Cases);

    [Fact]
    public void Bytes_UnderTheTypesUrl_AreReadOrRefusedByProtobuf() => Arbitrary.ByteStrings.Sample(value =>
    {
        try
        {
            Assert.True(TypeUrl.TryUnpack<EchoMessage>(new Any { TypeUrl = "kuasar.test.EchoMessage", Value = value }, out _));
        }
        catch (InvalidProtocolBufferException)
        {
        }
    }, iter: Arbitrary.Cases);

    [Fact]
    public void Json_IsKeptAsItIs() => Arbitrary.Bytes.Sample(json =>
    {
        var any = TypeUrl.PackJson(TypeUrl.OciSpec, json);
        Assert.Equal((TypeUrl.OciSpec, ByteString.CopyFrom(json)), (any.TypeUrl, any.Value));
        Assert.False(TypeUrl.Is<Request>(any));
    }, iter: Arbitrary.Cases);
}
