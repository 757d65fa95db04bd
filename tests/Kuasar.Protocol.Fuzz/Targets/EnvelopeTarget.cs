using Kuasar.Protocol.Fuzz.Engine;

namespace Kuasar.Protocol.Fuzz.Targets;

/// <summary>The envelopes by themselves: all of the input is one message.</summary>
internal sealed class EnvelopeTarget : FuzzTarget
{
    internal override string Name => "envelopes";

    internal override int MaxLength => 256;

    internal override long AllocationBound(int length) => (256 << 10) + (512L * length);

    internal override IEnumerable<byte[]> Seeds() => SeedInputs.Envelopes().Select(bytes => (byte[])[3, 0, .. bytes]);

    internal override ValueTask RunAsync(byte[] input)
    {
        Envelopes.Check(Plan.Of(input));
        return default;
    }
}
