using System.Runtime.CompilerServices;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Types;
using Kuasar.Vmm.Contracts.Agent;

namespace Kuasar.Vmm;

/// <content>What the guest tells by itself.</content>
public sealed partial class AgentClient
{
    /// <summary>
    /// The guest's events (containers out of memory), until cancelled. Over a connection of their own, closed at the end: the guest gives
    /// an event to one call only, and one that nobody reads any more would take it.
    /// </summary>
    /// <exception cref="RpcException">The guest refuses; a lost connection is made again.</exception>
    public async IAsyncEnumerable<Envelope> GetEventsAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (true)
        {
            if (await TryConnectAsync(cancellationToken).ConfigureAwait(false) is { } client)
            {
                await using var closing = client.ConfigureAwait(false);
                while (await NextAsync(client).ConfigureAwait(false) is { } envelope)
                {
                    yield return envelope;
                }
            }
            await Task.Delay(_options.RetryInterval, _options.TimeProvider, cancellationToken).ConfigureAwait(false);
        }

        async Task<Envelope?> NextAsync(TtrpcClient client)
        {
            try
            {
                return await new SandboxService.SandboxServiceClient(client).GetEventsAsync(
                    new Empty(), cancellationToken: cancellationToken).ConfigureAwait(false);
            }
            catch (RpcException error) when (error.StatusCode == StatusCode.Unavailable)
            {
                return null;
            }
            catch (RpcException error) when (error.StatusCode == StatusCode.Cancelled)
            {
                cancellationToken.ThrowIfCancellationRequested();
                throw;
            }
        }
    }

    private async Task<TtrpcClient?> TryConnectAsync(CancellationToken cancellationToken)
    {
        try
        {
            return await _channel.OpenAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
