using Kuasar.Shim.Hosting.Tests;

return args is [FakeSandboxer.ProgramArgument, var run, var mode]
    ? FakeSandboxer.Program(run, mode)
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
