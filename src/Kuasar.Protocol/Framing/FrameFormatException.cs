namespace Kuasar.Protocol.Framing;

/// <summary>The byte stream is not ttrpc. Ends the connection, with one log line.</summary>
internal sealed class FrameFormatException(string message) : Exception(message);

/// <summary>A message of ours that does not fit a frame; nothing of it was written.</summary>
internal sealed class MessageTooLargeException(long size, int limit)
    : Exception($"message length {size} exceeds the maximum message size of {limit}");
