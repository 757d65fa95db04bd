using System.Buffers;
using System.Text;
using Kuasar.Linux;

namespace Kuasar.Sandbox.Cgroups;

/// <summary>Reads the small text files of cgroups one after the other into the same two buffers. One thread at a time.</summary>
internal sealed class CgroupReader : IDisposable
{
    private byte[] _bytes = ArrayPool<byte>.Shared.Rent(8192);
    private char[] _chars = ArrayPool<char>.Shared.Rent(8192);

    /// <summary>A whole file; valid until the next read. False, and empty, when it is absent or the kernel will not tell (no PSI, cgroup gone).</summary>
    internal bool TryRead(string folder, string file, out ReadOnlySpan<char> text)
    {
        text = default;
        using var handle = Libc.TryOpenRead($"{folder}/{file}");
        if (handle is null)
        {
            return false;
        }
        var length = 0;
        while (true)
        {
            if (length == _bytes.Length)
            {
                Grow();
            }
            var count = Libc.Read(handle, _bytes.AsSpan(length));
            if (count == -Libc.EINTR)
            {
                continue;
            }
            if (count < 0)
            {
                return false;
            }
            if (count == 0)
            {
                break;
            }
            length += count;
        }
        // As chars, for switch over constant strings. Device names aside all of it is ASCII.
        Encoding.Latin1.GetChars(_bytes, 0, length, _chars, 0);
        text = _chars.AsSpan(0, length);
        return true;
    }

    /// <summary>A file that holds one number; null when it is absent or holds anything else.</summary>
    internal ulong? ReadNumber(string folder, string file, ulong max = ulong.MaxValue) =>
        TryRead(folder, file, out var text) ? Number(text, max) : null;

    /// <summary>One value of a file of "name value" lines; null when the file or the name is absent.</summary>
    internal ulong? ReadValue(string folder, string file, ReadOnlySpan<char> name)
    {
        TryRead(folder, file, out var text);
        while (NextPair(ref text, out var key, out var value))
        {
            if (key.SequenceEqual(name))
            {
                return value;
            }
        }
        return null;
    }

    /// <summary>A number; below zero is 0 as in containerd's cgroups library, "max" is what the caller takes for no limit.</summary>
    internal static ulong? Number(ReadOnlySpan<char> text, ulong max = ulong.MaxValue)
    {
        text = text.Trim();
        if (text is "max")
        {
            return max;
        }
        return ulong.TryParse(text, out var value) ? value : long.TryParse(text, out _) ? 0 : null;
    }

    /// <summary>The next "name value" line; lines of another shape are passed over. False at the end.</summary>
    internal static bool NextPair(scoped ref ReadOnlySpan<char> text, out ReadOnlySpan<char> key, out ulong value)
    {
        while (NextLine(ref text, out var line))
        {
            key = NextWord(ref line);
            if (Number(line) is { } number)
            {
                value = number;
                return true;
            }
        }
        key = default;
        value = 0;
        return false;
    }

    internal static bool NextLine(scoped ref ReadOnlySpan<char> text, out ReadOnlySpan<char> line)
    {
        if (text.IsEmpty)
        {
            line = default;
            return false;
        }
        var end = text.IndexOf('\n');
        line = end < 0 ? text : text[..end];
        text = end < 0 ? default : text[(end + 1)..];
        return true;
    }

    /// <summary>Cuts the next word of a line off it; empty at the end.</summary>
    internal static ReadOnlySpan<char> NextWord(scoped ref ReadOnlySpan<char> line)
    {
        line = line.TrimStart();
        var end = line.IndexOfAny(' ', '\t');
        var word = end < 0 ? line : line[..end];
        line = line[word.Length..];
        return word;
    }

    /// <summary>Splits "name=value"; false when there is no '='.</summary>
    internal static bool SplitAt(char separator, ReadOnlySpan<char> word, out ReadOnlySpan<char> name, out ReadOnlySpan<char> value)
    {
        var at = word.IndexOf(separator);
        name = at < 0 ? word : word[..at];
        value = at < 0 ? default : word[(at + 1)..];
        return at >= 0;
    }

    /// <summary>The next "name=value" of a line; words of another shape are passed over. False at the end.</summary>
    internal static bool NextAssignment(scoped ref ReadOnlySpan<char> line, out ReadOnlySpan<char> name, out ReadOnlySpan<char> value)
    {
        while (NextWord(ref line) is { IsEmpty: false } word)
        {
            if (SplitAt('=', word, out name, out value))
            {
                return true;
            }
        }
        name = value = default;
        return false;
    }

    private void Grow()
    {
        var bytes = ArrayPool<byte>.Shared.Rent(_bytes.Length * 2);
        _bytes.CopyTo(bytes, 0);
        ArrayPool<byte>.Shared.Return(_bytes);
        ArrayPool<char>.Shared.Return(_chars);
        _bytes = bytes;
        _chars = ArrayPool<char>.Shared.Rent(bytes.Length);
    }

    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_bytes);
        ArrayPool<char>.Shared.Return(_chars);
        _bytes = [];
        _chars = [];
    }
}
