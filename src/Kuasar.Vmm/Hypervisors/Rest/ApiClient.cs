using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.Win32.SafeHandles;

namespace Kuasar.Vmm.Hypervisors.Rest;

/// <summary>
/// A VMM's HTTP API on its unix socket. Each call has a connection of its own, so that between calls a machine costs nothing and no call can meet a
/// connection that the VMM has dropped.
/// </summary>
/// <remarks>
/// Cloud Hypervisor and Firecracker have the same server, micro_http: bodies need a Content-Length (chunks are not understood), their type is
/// exactly <c>application/json</c>, a body where none belongs is an error, and statuses have no reason phrase.
/// </remarks>
/// <param name="vmm">The VMM's name, for messages.</param>
/// <param name="socketPath">Where it listens; at most 107 bytes.</param>
/// <param name="timeProvider">For the bounds of calls.</param>
internal sealed class ApiClient(string vmm, string socketPath, TimeProvider timeProvider)
{
    /// <summary>For all but what writes or reads a guest's memory.</summary>
    internal static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(10);

    /// <summary>For that: some GiB on a slow disk.</summary>
    internal static readonly TimeSpan MemoryTimeout = TimeSpan.FromMinutes(5);

    // vm.info of a machine with many devices is some tens of KiB.
    private const int ResponseLimit = 1 << 20;

    internal string SocketPath => socketPath;

    /// <summary>Calls; an error of the VMM's is thrown.</summary>
    /// <returns>The answer's body; null when it has none.</returns>
    /// <exception cref="VmException">Refused; TimedOut; Ended: nobody listens, or the VMM went while it was asked.</exception>
    internal async Task<JsonObject?> CallAsync(
        HttpMethod method, string path, JsonObject? body, CancellationToken cancellationToken, TimeSpan? timeout = null)
    {
        var reply = await AskAsync(method, path, body, cancellationToken, timeout).ConfigureAwait(false);
        return reply.IsSuccess ? reply.Body : throw Refused(method, path, reply);
    }

    /// <summary>Whether the VMM listens yet, and answers a question that changes nothing.</summary>
    /// <exception cref="VmException">Refused; TimedOut.</exception>
    internal async ValueTask<bool> AnswersAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            await CallAsync(HttpMethod.Get, path, null, cancellationToken).ConfigureAwait(false);
            return true;
        }
        catch (VmException e) when (e.Error == VmError.Ended)
        {
            return false;
        }
    }

    /// <summary>An error of the VMM's as an exception.</summary>
    internal VmException Refused(HttpMethod method, string path, ApiReply reply) =>
        new(VmError.Refused, $"{vmm} refused {method} {path}: {reply.Error} ({reply.Status})");

    /// <summary>Calls; an error of the VMM's is an answer.</summary>
    /// <param name="method">HTTP's.</param>
    /// <param name="path">From the root.</param>
    /// <param name="body">Null: none, which is not the same as an empty one.</param>
    /// <param name="cancellationToken">Ends the wait; what the VMM does then is not known.</param>
    /// <param name="timeout">For all of it; null: <see cref="DefaultTimeout"/>.</param>
    /// <param name="handles">Open files that go beside the request (SCM_RIGHTS); they stay the caller's.</param>
    /// <exception cref="VmException">TimedOut; Ended: nobody listens, or the VMM went while it was asked.</exception>
    internal async Task<ApiReply> AskAsync(
        HttpMethod method, string path, JsonObject? body, CancellationToken cancellationToken, TimeSpan? timeout = null,
        IReadOnlyList<SafeFileHandle>? handles = null)
    {
        var bound = timeout ?? DefaultTimeout;
        using var timer = new CancellationTokenSource(bound, timeProvider);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, cancellationToken);
        try
        {
            return await SendAsync(method, path, body, handles, either.Token).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new VmException(VmError.TimedOut, $"{vmm} did not answer {method} {path} within {bound.TotalSeconds:0.#} s");
        }
        catch (HttpRequestException e)
        {
            throw new VmException(VmError.Ended, $"{vmm} could not be asked {method} {path}: {(e.InnerException ?? e).Message}", e);
        }
    }

    private async Task<ApiReply> SendAsync(
        HttpMethod method, string path, JsonObject? body, IReadOnlyList<SafeFileHandle>? handles, CancellationToken cancellationToken)
    {
        var connections = 0;
        using var handler = new SocketsHttpHandler
        {
            // It would ask once more where a connection ends without an answer, but what was asked may have been done.
            ConnectCallback = (_, token) => Interlocked.Increment(ref connections) == 1
                ? ConnectAsync(handles, token)
                : throw new IOException("the connection ended without an answer"),
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            // No traceparent: these servers make nothing of it.
            ActivityHeadersPropagator = null,
        };
        using var invoker = new HttpMessageInvoker(handler, disposeHandler: false);
        using var request = new HttpRequestMessage(method, $"http://localhost{path}");
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        if (body is not null)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(body.ToJsonString()));
            request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        }
        using var response = await invoker.SendAsync(request, cancellationToken).ConfigureAwait(false);
        await response.Content.LoadIntoBufferAsync(ResponseLimit, cancellationToken).ConfigureAwait(false);
        return ApiReply.Parse((int)response.StatusCode, await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false));
    }

    private async ValueTask<Stream> ConnectAsync(IReadOnlyList<SafeFileHandle>? handles, CancellationToken cancellationToken)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), cancellationToken).ConfigureAwait(false);
            return handles is null ? new NetworkStream(socket, ownsSocket: true) : new HandleSendingStream(socket, handles);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
