using System.Net.Sockets;
using System.Text;
using Kuasar.Vmm.Conformance.Tests.Bench;
using Kuasar.Vmm.Hypervisors.Rest;

namespace Kuasar.Vmm.Conformance.Tests.Rest;

/// <summary>The HTTP client against sockets that misbehave.</summary>
public sealed class ApiClientTests : IDisposable
{
    private readonly ScratchFolder _scratch = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly ApiClient _client;
    private int _connections;

    public ApiClientTests() => _client = new ApiClient("Test", _scratch.Path("api"), TimeProvider.System);

    public void Dispose()
    {
        _listener.Dispose();
        _scratch.Dispose();
    }

    [Fact]
    public async Task Where_nobody_listens_it_has_ended() => await FailsAsync(VmError.Ended);

    [Theory]
    [InlineData("")]
    [InlineData("HTTP/1.1 204")]
    public async Task What_gets_no_answer_is_not_asked_again(string answer)
    {
        Serve(answer);
        await FailsAsync(VmError.Ended);
        Assert.Equal(1, _connections);
    }

    [Theory]
    [InlineData("HTTP/1.1 204 \r\nServer: x\r\nConnection: keep-alive\r\n\r\n")]
    [InlineData("HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\n{}")]
    public async Task Answers_without_a_reason_phrase_are_read(string answer)
    {
        Serve(answer);
        await _client.CallAsync(HttpMethod.Put, "/x", [], CancellationToken.None);
    }

    [Fact]
    public async Task An_answer_without_end_is_cut_off()
    {
        Serve($"HTTP/1.1 200 \r\nContent-Length: 9000000\r\n\r\n{new string('x', 9_000_000)}");
        await FailsAsync(VmError.Ended);
    }

    [Fact]
    public async Task A_wait_ends_by_its_token()
    {
        _listener.Bind(new UnixDomainSocketEndPoint(_client.SocketPath));
        _listener.Listen();
        using var cancel = new CancellationTokenSource(50);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => _client.CallAsync(HttpMethod.Get, "/x", null, cancel.Token));
    }

    private async Task FailsAsync(VmError error)
    {
        var failure = await Assert.ThrowsAsync<VmException>(() => _client.CallAsync(HttpMethod.Put, "/x", [], CancellationToken.None));
        Assert.Equal(error, failure.Error);
        Assert.Contains("PUT /x", failure.Message, StringComparison.Ordinal);
    }

    private void Serve(string answer)
    {
        _listener.Bind(new UnixDomainSocketEndPoint(_client.SocketPath));
        _listener.Listen();
        _ = AnswerAsync(Encoding.ASCII.GetBytes(answer));
    }

    private async Task AnswerAsync(byte[] answer)
    {
        while (true)
        {
            using var connection = await _listener.AcceptAsync();
            _connections++;
            try
            {
                await connection.ReceiveAsync(new byte[4096]);
                await connection.SendAsync(answer);
            }
            catch (SocketException)
            {
                // The client has heard enough.
            }
        }
    }
}
