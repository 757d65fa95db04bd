using Grpc.Core;
using Kuasar.Protocol.Tests.Protos;

namespace Kuasar.Protocol.Tests.Support;

/// <summary>Echoes; each method can be given another body.</summary>
internal sealed class EchoService : Echo.EchoBase
{
    public Func<EchoMessage, ServerCallContext, Task<EchoMessage>> OnUnary { get; init; } = (m, _) => Task.FromResult(m);

    public Func<EchoMessage, IServerStreamWriter<EchoMessage>, ServerCallContext, Task> OnDown { get; init; } =
        async (m, output, _) =>
        {
            for (var i = 0; i < m.Number; i++)
            {
                await output.WriteAsync(new EchoMessage { Text = m.Text, Number = i });
            }
        };

    public Func<IAsyncStreamReader<EchoMessage>, ServerCallContext, Task<EchoMessage>> OnUp { get; init; } =
        async (input, _) =>
        {
            var sum = new EchoMessage();
            while (await input.MoveNext(default))
            {
                sum.Number += input.Current.Number;
                sum.Text += input.Current.Text;
            }
            return sum;
        };

    public Func<IAsyncStreamReader<EchoMessage>, IServerStreamWriter<EchoMessage>, ServerCallContext, Task> OnBoth { get; init; } =
        async (input, output, _) =>
        {
            while (await input.MoveNext(default))
            {
                await output.WriteAsync(input.Current);
            }
        };

    public override Task<EchoMessage> Unary(EchoMessage request, ServerCallContext context) => OnUnary(request, context);

    public override Task Down(EchoMessage request, IServerStreamWriter<EchoMessage> responseStream, ServerCallContext context) =>
        OnDown(request, responseStream, context);

    public override Task<EchoMessage> Up(IAsyncStreamReader<EchoMessage> requestStream, ServerCallContext context) =>
        OnUp(requestStream, context);

    public override Task Both(
        IAsyncStreamReader<EchoMessage> requestStream, IServerStreamWriter<EchoMessage> responseStream, ServerCallContext context) =>
        OnBoth(requestStream, responseStream, context);
}
