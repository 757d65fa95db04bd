using System.Globalization;
using CrashingSandboxer;
using Kuasar.Sandbox;
using Microsoft.Extensions.Logging;

// kuasar-crashing-sandboxer RUN RUNTIME: prints the fd of its system calls' gate, and serves when it is told "go". It ends by being killed.
// kuasar-crashing-sandboxer RUN RUNTIME FILE: the same behind a keeper. The first sandboxer writes its pid and the fd, a line, to FILE, and
// goes on when there is FILE.go; later ones have no gate.
var options = new SandboxerOptions
{
    Name = "crashing", RunDirectory = args[0], LogLevel = LogLevel.Warning, TrimMemoryWhenIdle = false, Keeper = args.Length == 3,
};
return await SandboxerHost.RunProgramAsync(
    () =>
    {
        if (!options.Keeper)
        {
            Console.WriteLine(SyscallFilter.Install().ToString(CultureInfo.InvariantCulture));
            Console.ReadLine();
        }
        else if (!File.Exists(args[2]))
        {
            File.WriteAllText(args[2], string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId} {SyscallFilter.Install()}\n"));
            while (!File.Exists(args[2] + ".go"))
            {
                Thread.Sleep(1);
            }
        }
        return new ProcessSandboxer(args[1]);
    },
    options);
