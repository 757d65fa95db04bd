using System.Diagnostics;
using System.Globalization;
using Kuasar.Vmm;

// vsock-dotnet async|blocking ADDRESS COUNT: the client of benchmarks/vsock.c, by VsockStream. Prints median and 99th percentile in nanoseconds.
const int Size = 64, WarmUp = 500;
var address = VsockEndPoint.Parse(args[1]);
var times = new long[int.Parse(args[2], CultureInfo.InvariantCulture)];
await using var stream = await address.ConnectAsync(TimeSpan.FromSeconds(5));
var (sent, received) = (new byte[Size], new byte[Size]);
for (var i = -WarmUp; i < times.Length; i++)
{
    var start = Stopwatch.GetTimestamp();
    if (args[0] == "async")
    {
        await stream.WriteAsync(sent);
        await stream.ReadExactlyAsync(received);
    }
    else
    {
        stream.Write(sent);
        stream.ReadExactly(received);
    }
    if (i >= 0)
    {
        times[i] = Stopwatch.GetElapsedTime(start).Ticks * 100;
    }
}
Array.Sort(times);
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{times[times.Length / 2]} {times[times.Length * 99 / 100]}"));
