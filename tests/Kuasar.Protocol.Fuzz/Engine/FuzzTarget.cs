namespace Kuasar.Protocol.Fuzz.Engine;

/// <summary>Something that takes any bytes.</summary>
internal abstract class FuzzTarget
{
    /// <summary>The name of its corpus folder, and on the command line.</summary>
    internal abstract string Name { get; }

    /// <summary>Longest input the mutator makes, in bytes.</summary>
    internal virtual int MaxLength => 1024;

    /// <summary>
    /// What one run may allocate on all threads together, in bytes: a constant of the target and so much per byte of input. Far
    /// below the largest length a frame can announce, which is what nobody must allocate unseen.
    /// </summary>
    internal abstract long AllocationBound(int length);

    /// <summary>Whether it is no failure that a task ends with this exception and nobody looks.</summary>
    internal virtual bool IsExpected(Exception unobserved) => false;

    /// <summary>Inputs to begin with.</summary>
    internal abstract IEnumerable<byte[]> Seeds();

    /// <summary>Takes the input; throws what breaks an invariant, and hangs where the library does.</summary>
    internal abstract ValueTask RunAsync(byte[] input);
}

/// <summary>An invariant does not hold.</summary>
internal sealed class FuzzFailure(string message) : Exception(message)
{
    internal static void Unless(bool holds, string message)
    {
        if (!holds)
        {
            throw new FuzzFailure(message);
        }
    }
}
