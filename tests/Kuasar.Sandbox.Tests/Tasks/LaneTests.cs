using Kuasar.Sandbox.Tasks;
using Kuasar.Sandbox.Tests.Support;

namespace Kuasar.Sandbox.Tests.Tasks;

public sealed class LaneTests
{
    [Fact]
    public async Task Turns_come_in_the_order_of_arrival_one_at_a_time()
    {
        var lane = new Lane();
        List<int> order = [];
        var first = await lane.EnterAsync();
        var waiting = Enumerable.Range(0, 20).Select(EnterAsync).ToArray();
        Assert.Empty(order);

        first.Dispose();

        await Task.WhenAll(waiting).InTime();
        Assert.Equal(Enumerable.Range(0, 20), order);

        async Task EnterAsync(int number)
        {
            using var turn = await lane.EnterAsync();
            order.Add(number);
            await Task.Yield();
            Assert.Equal(number, order[^1]);
        }
    }
}
