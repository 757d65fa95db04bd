using System.Net.Sockets;

namespace Kuasar.GuestAgent.Tests.Beds;

/// <summary>The agent as a process of this host, on a unix socket, in mount, pid, ipc and uts namespaces of its own.</summary>
public sealed class ProcessBed : AgentBed
{
    private readonly string _folder = Directory.CreateTempSubdirectory("kuasar-agent-").FullName;
    private ChildProcess? _agent;

    internal override bool IsMachine => false;

    internal override string Share => Path.Combine(_folder, "share");

    internal override string ShareInAgent => Share;

    private string Socket => Path.Combine(_folder, "agent.sock");

    public override async ValueTask InitializeAsync()
    {
        Directory.CreateDirectory(Share);
        var runtime = FindRuntime();
        Reason = Environment.UserName != "root" ? "needs root"
            : runtime is null ? "no runc or crun: none on PATH, and no test bed (eng/containerd.sh install)"
            : null;
        if (Reason is not null)
        {
            return;
        }
        var agent = Path.Combine(AppContext.BaseDirectory, "kuasar-guest-agent");
        _agent = new ChildProcess(
            Path.Combine(_folder, "agent.log"), "/usr/bin/unshare", "--mount", "--ipc", "--uts", "--",
            agent, "--listen", Socket, "--run-dir", Path.Combine(_folder, "run"), "--runtime", runtime!, "--debug");
        for (var i = 0; !await ListensAsync(); i++)
        {
            Assert.True(i < 500 && !_agent.HasExited, File.ReadAllText(Path.Combine(_folder, "agent.log")));
            await Task.Delay(20);
        }
    }

    // The file is there before.
    private async Task<bool> ListensAsync()
    {
        try
        {
            await (await DialAsync(CancellationToken.None)).DisposeAsync();
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    internal override async ValueTask<Stream> DialAsync(CancellationToken cancellationToken)
    {
        var socket = new System.Net.Sockets.Socket(AddressFamily.Unix, SocketType.Stream, 0);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancellationToken);
        return new NetworkStream(socket, ownsSocket: true);
    }

    private static string? FindRuntime()
    {
        var folders = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':');
        var named = (string?[])[Environment.GetEnvironmentVariable("KUASAR_RUNC"), .. folders.SelectMany(folder => (string[])[folder + "/runc", folder + "/crun"])];
        return named.Concat(FromTestBed()).FirstOrDefault(File.Exists);
    }

    private static IEnumerable<string> FromTestBed()
    {
        var suites = Path.Combine(Environment.GetEnvironmentVariable("KUASAR_TESTBED") ?? Repository.Path("artifacts/testbed"), "dist");
        return Directory.Exists(suites) ? Directory.GetDirectories(suites).Select(suite => suite + "/prefix/usr/sbin/runc") : [];
    }

    public override async ValueTask DisposeAsync()
    {
        if (_agent is not null)
        {
            // It ends its tasks when it is asked to; killed, it could not.
            using (var client = await OpenAsync())
            {
                await client.ShutdownAsync();
            }
            await _agent.ExitAsync();
            await _agent.DisposeAsync();
        }
        Directory.Delete(_folder, recursive: true);
    }
}
