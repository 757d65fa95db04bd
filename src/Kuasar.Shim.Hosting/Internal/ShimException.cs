namespace Kuasar.Shim.Hosting.Internal;

/// <summary>What the one line on stderr says.</summary>
internal class ShimException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The command line is wrong: exit code 2, as Go's flag package has it.</summary>
internal sealed class UsageException(string message) : ShimException(message);

/// <summary>The sandboxer is not there, or does not answer.</summary>
internal sealed class SandboxerDownException(string message) : ShimException(message);

/// <summary>The sandboxer has answered, with an error.</summary>
internal sealed class SandboxerErrorException(string message) : ShimException(message);
