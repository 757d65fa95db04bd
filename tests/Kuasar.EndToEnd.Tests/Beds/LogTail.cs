namespace Kuasar.EndToEnd.Tests.Beds;

/// <summary>What a log says last, for the message of a failure.</summary>
internal static class LogTail
{
    internal static string Of(string file, int lines, Func<string, bool>? which = null)
    {
        if (!File.Exists(file))
        {
            return $"--- no {file}";
        }
        using var reader = new StreamReader(new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        var tail = new Queue<string>();
        while (reader.ReadLine() is { } line)
        {
            if (which?.Invoke(line) ?? true)
            {
                tail.Enqueue(line);
                if (tail.Count > lines)
                {
                    tail.Dequeue();
                }
            }
        }
        return $"--- {file}\n{string.Join('\n', tail)}";
    }
}
