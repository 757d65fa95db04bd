using System.Runtime.InteropServices;
using Kuasar.Linux;
using Kuasar.Sandbox.Pods;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Pods;

public sealed class PodInitProgramTests
{
    [Fact]
    public async Task The_program_for_arm64_gets_ready_in_an_emulator()
    {
        const string Emulator = "/usr/bin/qemu-aarch64";
        Assert.SkipUnless(File.Exists(Emulator) && Libc.EffectiveUserId == 0, $"no {Emulator} (package qemu-user), or not root");
        using var bed = new Bed();
        var program = bed.Script("init", "");
        File.WriteAllBytes(program, PodInitProgram.Build(Architecture.Arm64));
        var (goRead, goWrite) = Libc.Pipe();
        var (readyRead, readyWrite) = Libc.Pipe();
        using var init = bed.Processes.Start(Emulator, [program], goRead, readyWrite);
        goRead.Dispose();
        readyWrite.Dispose();
        Libc.Write(goWrite, "+"u8);
        Assert.Equal("+"u8.ToArray(), await Task.Run(() => Libc.ReadToEnd(readyRead, 10, "ready"), TestContext.Current.CancellationToken).InTime());
        Assert.Empty(Directory.GetFileSystemEntries($"/proc/{init.ProcessId}/root"));
        Assert.Contains("Uid:\t65535\t65535\t65535\t65535", File.ReadAllLines($"/proc/{init.ProcessId}/status"));
        Assert.False(init.Exited.IsCompleted);
        init.Signal(Libc.SIGKILL);
        await init.Exited.InTime();
        goWrite.Dispose();
        readyRead.Dispose();
    }

    [Fact]
    public async Task It_ends_with_the_step_that_failed_and_when_nobody_says_go()
    {
        Assert.SkipUnless(RuntimeInformation.ProcessArchitecture is Architecture.X64 or Architecture.Arm64, "no program for this machine");
        using var bed = new Bed();
        var program = bed.Script("init", "");
        File.WriteAllBytes(program, PodInitProgram.Build());
        // /dev/null is at its end at once.
        using var init = bed.Processes.Start(program, []);
        Assert.Equal(1u, (await init.Exited.InTime()).Code);
    }

    [Fact]
    public void There_is_none_for_other_machines() =>
        Assert.Equal(SandboxError.Unimplemented, Assert.Throws<SandboxException>(() => PodInitProgram.Build(Architecture.S390x)).Error);
}
