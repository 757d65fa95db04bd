using Kuasar.Shim.Hosting.Internal;

namespace Kuasar.Shim.Hosting.Tests;

public class CommandLineTests
{
    [Theory]
    [InlineData("-namespace n -id a -address /s -publish-binary /c start", "Start n a /s /c  False")]
    [InlineData("--namespace n --id a --address /s delete", "Delete n a /s   False")]
    [InlineData("-namespace=n -id=a --address=/s=t -debug start", "Start n a /s=t   True")]
    [InlineData("-namespace n -id a -bundle /b -debug delete", "Delete n a   /b True")]
    [InlineData("-namespace n -id a -debug=false start", "Start n a    False")]
    [InlineData("-namespace n -id a -debug=T start -debug=maybe -what", "Start n a    True")]
    [InlineData("-namespace n -id b -id a -socket /x --debug-socket=/y start", "Start n a    False")]
    [InlineData("-namespace n -id a -- start", "Start n a    False")]
    [InlineData("-info", "Info      False")]
    [InlineData("-v", "Version      False")]
    [InlineData("--version", "Version      False")]
    [InlineData("-version=false -namespace n -id a start", "Start n a    False")]
    [InlineData("-h", "Help      False")]
    public void Parse_GoSyntax(string line, string expected)
    {
        var command = CommandLine.Parse(line.Split(' '));

        Assert.Equal(expected, $"{command.Action} {command.Namespace} {command.Id} {command.Address} {command.PublishBinary} {command.Bundle} {command.Debug}");
    }

    [Theory]
    [InlineData("", "no action")]
    [InlineData("-namespace n -id a", "no action")]
    [InlineData("-namespace n -id a stop", "unknown action \"stop\"")]
    [InlineData("-namespace n -id a - start", "unknown action \"-\"")]
    [InlineData("-what -id a start", "flag provided but not defined: -what")]
    [InlineData("-id", "flag needs an argument: -id")]
    [InlineData("-debug=maybe start", "invalid boolean value \"maybe\" for -debug")]
    [InlineData("-namespace n start", "flag -id is missing")]
    [InlineData("-id a start", "flag -namespace is missing")]
    [InlineData("-namespace n -id ../a start", "flag -id: \"../a\" is not an identifier")]
    [InlineData("-namespace .. -id a delete", "flag -namespace: \"..\" is not an identifier")]
    [InlineData("-namespace n -id a/b delete", "flag -id: \"a/b\" is not an identifier")]
    public void Parse_Refuses(string line, string message)
    {
        var exception = Assert.Throws<UsageException>(() => CommandLine.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)));

        Assert.StartsWith(message, exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Parse_IdOver76Characters_Refused()
    {
        CommandLine.Parse(["-namespace", "n", "-id", new string('a', 76), "start"]);
        Assert.Throws<UsageException>(() => CommandLine.Parse(["-namespace", "n", "-id", new string('a', 77), "start"]));
    }
}
