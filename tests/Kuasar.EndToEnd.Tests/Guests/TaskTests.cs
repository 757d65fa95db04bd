using Kuasar.EndToEnd.Tests.Stdio;
using Kuasar.EndToEnd.Tests.TaskApi;

namespace Kuasar.EndToEnd.Tests.Guests;

// A container of a guest is as any other: to containerd, and to its clients.

[Collection(GuestTests.Name)]
public sealed class GuestExitTests(TestRun run, GuestNode own) : ExitTests(run, own);

[Collection(GuestTests.Name)]
public sealed class GuestExecTests(TestRun run, GuestNode own) : ExecTests(run, own)
{
    protected override int Many => 20;
}

[Collection(GuestTests.Name)]
public sealed class GuestInputTests(TestRun run, GuestNode own) : InputTests(run, own);

[Collection(GuestTests.Name)]
public sealed class GuestOutputTests(TestRun run, GuestNode own) : OutputTests(run, own)
{
    protected override int Lines => 200_000;
}

[Collection(GuestTests.Name)]
public sealed class GuestTerminalTests(TestRun run, GuestNode own) : TerminalTests(run, own)
{
    protected override int Lines => 20_000;
}
