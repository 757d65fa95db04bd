using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Streaming;
using Kuasar.Protocol.Contracts.Transfer;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>A host's end of a process's standard stream.</summary>
internal sealed class ByteStream : IDisposable
{
    private const int Window = 256 * 1024;

    private readonly AsyncDuplexStreamingCall<Any, Any> _call;
    private int _read;

    private ByteStream(AsyncDuplexStreamingCall<Any, Any> call) => _call = call;

    /// <summary>Whether it grants a window and more of it as it reads, as containerd's own reader does.</summary>
    internal bool Grants { get; init; }

    /// <summary>The largest message that has come.</summary>
    internal int Largest { get; private set; }

    internal static async Task<ByteStream> OpenAsync(Streaming.StreamingClient client, string id, bool grants, int? position)
    {
        var stream = new ByteStream(client.Stream(new CallOptions(deadline: DateTime.UtcNow.AddSeconds(60)))) { Grants = grants };
        var init = new StreamInit { Id = id };
        if (position is { } has)
        {
            init.Position = (ulong)has;
        }
        await stream._call.RequestStream.WriteAsync(TypeUrl.Pack(init));
        Assert.True(await stream._call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.True(TypeUrl.Is<Empty>(stream._call.ResponseStream.Current));
        if (grants)
        {
            await stream.GrantAsync(Window);
        }
        return stream;
    }

    /// <summary>The next bytes; null at the end.</summary>
    internal async Task<byte[]?> ReadAsync()
    {
        while (await _call.ResponseStream.MoveNext(CancellationToken.None))
        {
            if (TypeUrl.TryUnpack<Data>(_call.ResponseStream.Current, out var data))
            {
                Largest = Math.Max(Largest, data.Data_.Length);
                _read += data.Data_.Length;
                if (Grants && _read >= Window / 2)
                {
                    await TryGrantAsync(_read);
                    _read = 0;
                }
                return data.Data_.ToByteArray();
            }
        }
        return null;
    }

    private async Task TryGrantAsync(int bytes)
    {
        try
        {
            await GrantAsync(bytes);
        }
        catch (InvalidOperationException)
        {
            // The stream has ended, and what is left of it is here already.
        }
    }

    internal async Task<byte[]> ReadToEndAsync()
    {
        using var all = new MemoryStream();
        while (await ReadAsync() is { } bytes)
        {
            all.Write(bytes);
        }
        return all.ToArray();
    }

    /// <summary>Reads until the text has come.</summary>
    internal async Task<string> ReadUntilAsync(string text)
    {
        var all = "";
        while (!all.Contains(text, StringComparison.Ordinal))
        {
            all += System.Text.Encoding.UTF8.GetString(await ReadAsync() ?? throw new InvalidOperationException($"\"{text}\" did not come, but \"{all}\""));
        }
        return all;
    }

    /// <summary>What the process has of its stdin, as the agent says it.</summary>
    internal async Task<ulong> ReadPositionAsync()
    {
        Assert.True(await _call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.True(TypeUrl.TryUnpack<StreamInit>(_call.ResponseStream.Current, out var init));
        return init.Position;
    }

    /// <summary>The next leave to send.</summary>
    internal async Task<int> ReadGrantAsync()
    {
        Assert.True(await _call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.True(TypeUrl.TryUnpack<WindowUpdate>(_call.ResponseStream.Current, out var grant));
        return grant.Update;
    }

    internal Task WriteAsync(ReadOnlySpan<byte> bytes) => _call.RequestStream.WriteAsync(TypeUrl.Pack(new Data { Data_ = ByteString.CopyFrom(bytes) }));

    internal Task GrantAsync(int bytes) => _call.RequestStream.WriteAsync(TypeUrl.Pack(new WindowUpdate { Update = bytes }));

    internal Task CloseAsync() => _call.RequestStream.CompleteAsync();

    public void Dispose() => _call.Dispose();
}
