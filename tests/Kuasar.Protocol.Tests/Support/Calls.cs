using Google.Protobuf;
using Kuasar.Protocol.Tests.Protos;

namespace Kuasar.Protocol.Tests.Support;

internal static class Calls
{
    /// <summary>Ten rounds of every kind of call, one kind beside the other.</summary>
    public static async Task FourKindsAsync(Echo.EchoClient echo, int seed)
    {
        for (var round = 0; round < 10; round++)
        {
            var message = new EchoMessage { Text = $"{seed}", Number = round, Blob = ByteString.CopyFrom(new byte[seed * 200]) };
            Assert.Equal(message, await echo.UnaryAsync(message));
            using var down = echo.Down(new EchoMessage { Number = 5 });
            for (var i = 0; i < 5; i++)
            {
                Assert.True(await down.ResponseStream.MoveNext(default));
                Assert.Equal(i, down.ResponseStream.Current.Number);
            }
            Assert.False(await down.ResponseStream.MoveNext(default));
            using var up = echo.Up();
            using var both = echo.Both();
            for (var i = 0; i < 5; i++)
            {
                await up.RequestStream.WriteAsync(new EchoMessage { Number = i });
                await both.RequestStream.WriteAsync(message);
                Assert.True(await both.ResponseStream.MoveNext(default));
                Assert.Equal(message, both.ResponseStream.Current);
            }
            await up.RequestStream.CompleteAsync();
            await both.RequestStream.CompleteAsync();
            Assert.Equal(10, (await up).Number);
            Assert.False(await both.ResponseStream.MoveNext(default));
        }
    }
}
