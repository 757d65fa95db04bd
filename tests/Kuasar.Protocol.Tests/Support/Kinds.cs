using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>One call of a method, whatever its kind, to its end.</summary>
internal static class Kinds
{
    public static readonly string[] All = ["Unary", "Down", "Up", "Both"];

    public static TheoryData<string> Data => new(All);

    /// <summary>Sends one message and gives back the one that comes for it; fails as the call fails.</summary>
    public static async Task<EchoMessage> Call(Echo.EchoClient echo, string kind, EchoMessage message, CallOptions options = default)
    {
        switch (kind)
        {
            case "Unary":
                return await echo.UnaryAsync(message, options).ResponseAsync.Within();
            case "Down":
                using (var call = echo.Down(message, options))
                {
                    return await Only(call.ResponseStream);
                }
            case "Up":
                using (var call = echo.Up(options))
                {
                    await Send(call.RequestStream, message);
                    return await call.ResponseAsync.Within();
                }
            default:
                using (var call = echo.Both(options))
                {
                    await Send(call.RequestStream, message);
                    return await Only(call.ResponseStream);
                }
        }
    }

    // A call that fails at once may do so before all is sent; the answer says why.
    private static async Task Send(IClientStreamWriter<EchoMessage> stream, EchoMessage message)
    {
        try
        {
            await stream.WriteAsync(message).Within();
            await stream.CompleteAsync().Within();
        }
        catch (Exception error) when (error is RpcException or InvalidOperationException)
        {
        }
    }

    private static async Task<EchoMessage> Only(IAsyncStreamReader<EchoMessage> stream)
    {
        EchoMessage? message = null;
        while (await stream.MoveNext(default).Within())
        {
            Assert.Null(message);
            message = stream.Current;
        }
        return Assert.IsType<EchoMessage>(message);
    }
}
