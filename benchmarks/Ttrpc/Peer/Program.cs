// One end of a measured connection: ours, or a bare socket. Run by the runner of benchmarks/ttrpc.sh.
//
//   ttrpc-peer ours|raw-blocking|raw-async serve SOCKET            prints "ready", ends with its stdin
//   ttrpc-peer ours|raw-blocking|raw-async call SOCKET WORKLOAD    prints a line of JSON; the workload: see Workload.cs
//   ttrpc-peer idle SOCKET COUNT      holds so many connections that have had one call each; prints "ready", ends with its stdin
//   ttrpc-peer allocations            what one call allocates on both sides together, in markdown
using System.Globalization;
using Kuasar.Benchmarks.Load;
using Kuasar.Benchmarks.Peer;

switch (args)
{
    case ["ours", "serve", var socket]:
        await Ours.ServeAsync(socket);
        return 0;
    case ["ours", "call", var socket, .. var words]:
        await Ours.CallAsync(socket, Workload.Parse(words));
        return 0;
    case ["raw-blocking", "serve", var socket]:
        await Raw.ServeAsync(socket, RawBlocking.Answer);
        return 0;
    case ["raw-blocking", "call", var socket, .. var words]:
        await RawBlocking.CallAsync(socket, Workload.Parse(words));
        return 0;
    case ["raw-async", "serve", var socket]:
        await Raw.ServeAsync(socket, RawAsync.Answer);
        return 0;
    case ["raw-async", "call", var socket, .. var words]:
        await RawAsync.CallAsync(socket, Workload.Parse(words));
        return 0;
    case ["idle", var socket, var count]:
        await Idle.HoldAsync(socket, int.Parse(count, CultureInfo.InvariantCulture));
        return 0;
    case ["allocations"]:
        await Allocations.PrintAsync();
        return 0;
    default:
        await Console.Error.WriteLineAsync("usage: see benchmarks/Ttrpc/Peer/Program.cs");
        return 2;
}
