namespace Kuasar.Protocol.Soak;

/// <param name="Seconds">How long.</param>
/// <param name="Callers">Of each leg.</param>
/// <param name="Pause">Longest pause of a caller between two calls, in milliseconds.</param>
/// <param name="GoPeer">The program that eng/go-ttrpc.sh builds; null leaves Go out.</param>
/// <param name="Seed">Of what is random.</param>
internal sealed record SoakOptions(int Seconds, int Callers, int Pause, string? GoPeer, int Seed);
