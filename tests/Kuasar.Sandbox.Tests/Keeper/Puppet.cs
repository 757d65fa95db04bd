using System.Globalization;
using System.Net.Sockets;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Kuasar.Domain;
using Kuasar.Linux;
using Kuasar.Protocol;
using Kuasar.Protocol.Contracts.Control;
using Kuasar.Protocol.Contracts.TaskV3;
using Kuasar.Sandbox.Keeper;
using Kuasar.Sandbox.Processes;
using Kuasar.Sandbox.Tests.Support;
using Microsoft.Extensions.Logging.Abstractions;
using Task = System.Threading.Tasks.Task;
using TaskContract = Kuasar.Protocol.Contracts.TaskV3.Task;

namespace Kuasar.Sandbox.Tests.Keeper;

/// <summary>
/// This program as a keeper, and as a sandboxer that does what its calls' ids say. A copy of the executable behaves by its name: what
/// follows the last '-' is its version, and "crash", "hang" and "mute" are bad ones.
/// </summary>
internal sealed class Puppet(string folder, HostProcesses processes, KeeperSession session) : TaskContract.TaskBase
{
    internal const string Command = "keeper-puppet";

    internal static string Version => Path.GetFileName(Environment.ProcessPath!).Split('-') is [_, var version] ? version : "v1";

    internal static async Task<int> RunAsync(string folder)
    {
        if (KeeperProgram.TryRun(new DomainPaths(folder), NullLoggerFactory.Instance, CancellationToken.None) is { } code)
        {
            return code;
        }
        if (Version == "crash" || File.Exists(Path.Combine(folder, "crash")))
        {
            return 3;
        }
        if (Version == "mute")
        {
            await Task.Delay(TimeSpan.FromMinutes(1));
        }
        using var loop = new EventLoop(NullLogger.Instance);
        using var session = KeeperSession.TryOpen(loop, TimeProvider.System, NullLogger.Instance, Version)!;
        using var reaper = new ChildReaper(loop, TimeProvider.System, NullLogger.Instance, session);
        await session.Turn;
        if (Version == "hang")
        {
            await Task.Delay(TimeSpan.FromMinutes(1));
        }
        await using var server = new TtrpcServer();
        TaskContract.BindService(server.Services, new Puppet(folder, new HostProcesses(reaper), session));
        await using var source = session.Transports.Listen(Path.Combine(folder, "task.sock"));
        _ = server.ServeAsync(source, CancellationToken.None);
        session.Ready();
        await session.StopAsked;
        session.Leaving();
        return 0;
    }

    private string PathOf(string name) => Path.Combine(folder, name);

    public override Task<StateResponse> State(StateRequest request, ServerCallContext context) =>
        Task.FromResult(new StateResponse { Id = Version, Pid = (uint)Environment.ProcessId });

    /// <summary>Takes as many milliseconds as the id says, and leaves a line for having been here.</summary>
    public override async Task<Empty> Exec(ExecProcessRequest request, ServerCallContext context)
    {
        await File.AppendAllTextAsync(PathOf("acts"), request.Id + "\n", CancellationToken.None);
        await Task.Delay(int.Parse(request.Id, CultureInfo.InvariantCulture), CancellationToken.None);
        return new Empty();
    }

    /// <summary>The first leaves a line and never ends; the second finds the line, and is answered.</summary>
    public override async Task<CreateTaskResponse> Create(CreateTaskRequest request, ServerCallContext context)
    {
        var begun = File.Exists(PathOf("acts"));
        var said = context.RequestHeaders.Get(TtrpcFrame.AskedBefore) is null ? "" : " again";
        await File.AppendAllTextAsync(PathOf("acts"), $"{request.Id}{said}\n", CancellationToken.None);
        await Task.Delay(begun ? 0 : 60_000, CancellationToken.None);
        return new CreateTaskResponse { Pid = (uint)Environment.ProcessId };
    }

    /// <summary>An orphan that runs the script in the file of the id; its identity is written down.</summary>
    public override async Task<StartResponse> Start(StartRequest request, ServerCallContext context)
    {
        using var parent = processes.Start("/bin/sh", ["-c", $"sh {PathOf(request.Id)} & echo $! > {PathOf(request.Id)}.pid"]);
        await parent.Exited;
        var pid = int.Parse(await File.ReadAllTextAsync(PathOf(request.Id + ".pid")), CultureInfo.InvariantCulture);
        while (request.Id.StartsWith("short", StringComparison.Ordinal) && Directory.Exists($"/proc/{pid}"))
        {
            await Task.Delay(1);
        }
        var process = processes.Adopt(pid);
        await File.WriteAllBytesAsync(PathOf(request.Id + ".record"), (ProcessIdentity.Of(pid) ?? new ProcessRecord { Pid = pid }).ToByteArray());
        _ended[request.Id] = process.Exited;
        return new StartResponse { Pid = (uint)pid };
    }

    private readonly Dictionary<string, Task<ExitStatus>> _ended = [];

    public override async Task<WaitResponse> Wait(WaitRequest request, ServerCallContext context)
    {
        if (!_ended.TryGetValue(request.Id, out var ended))
        {
            ended = processes.Recover(ProcessRecord.Parser.ParseFrom(await File.ReadAllBytesAsync(PathOf(request.Id + ".record")))).Exited;
        }
        return new WaitResponse { ExitStatus = (await ended).Code };
    }

    public override Task<Empty> Update(UpdateTaskRequest request, ServerCallContext context) => Task.FromResult(new Empty());

    /// <summary>As many bytes as the id says.</summary>
    public override Task<StatsResponse> Stats(StatsRequest request, ServerCallContext context) =>
        Task.FromResult(new StatsResponse { Stats = new Any { Value = ByteString.CopyFrom(new byte[int.Parse(request.Id, CultureInfo.InvariantCulture)]) } });

    /// <summary>Keeps a pipe with one byte in it.</summary>
    public override Task<Empty> Pause(PauseRequest request, ServerCallContext context)
    {
        var (read, write) = Libc.Pipe();
        Libc.Write(write, "x"u8);
        session.Handles.Keep(request.Id + "/read", read);
        session.Handles.Keep(request.Id + "/write", write);
        return Task.FromResult(new Empty());
    }

    /// <summary>Holds a connection to the socket of the id.</summary>
    public override Task<Empty> CloseIO(CloseIORequest request, ServerCallContext context)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        session.Handles.Hold(socket.SafeHandle);
        socket.Connect(new UnixDomainSocketEndPoint(request.Id));
        return Task.FromResult(new Empty());
    }

    /// <summary>Closes what nobody has asked for.</summary>
    public override Task<Empty> ResizePty(ResizePtyRequest request, ServerCallContext context)
    {
        session.Handles.ForgetUnclaimed();
        return Task.FromResult(new Empty());
    }

    /// <summary>Finds the pipe and the byte.</summary>
    public override Task<Empty> Resume(ResumeRequest request, ServerCallContext context)
    {
        var buffer = new byte[8];
        return session.Handles.TryFind(request.Id + "/read") is { } read && session.Handles.TryFind(request.Id + "/write") is not null
            && Libc.Read(read, buffer) == 1 && buffer[0] == (byte)'x'
            ? Task.FromResult(new Empty())
            : throw new RpcException(new Status(StatusCode.NotFound, "no pipe"));
    }
}
