using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Tests.Ledger;
using Microsoft.Extensions.DependencyInjection;
using NodaTime;
using Orleans.TestingHost;

namespace Billing.Tests.Orleans;

/// <summary>Two activations of one organization, as there are while a network is torn: the journal takes only one event of each version.</summary>
public sealed class OvertakenTests
{
    private static readonly Instant Now = Instant.FromUtc(2026, 11, 20, 12, 0);

    [Fact]
    public async Task an_activation_that_was_overtaken_decides_again_on_what_the_other_wrote_and_then_ends()
    {
        var journal = new MemoryJournal();
        await using var inside = new LedgerHost(journal, () => PropertyTests.Catalogs, maxResidentBytes: long.MaxValue);
        var builder = new InProcessTestClusterBuilder(1);
        builder.ConfigureSilo((_, silo) => silo.Services.AddSingleton(inside));
        await using var cluster = builder.Build();
        await cluster.DeployAsync();
        await using var here = new OrleansHost(TimeSpan.FromSeconds(8));
        here.Attach(cluster.Client);
        // On the other side of the tear.
        await using var there = new LedgerHost(journal, () => PropertyTests.Catalogs, maxResidentBytes: long.MaxValue);

        await Execute(here, new OpenOrganization("Europe/Berlin", true, null) { Id = "open", ContentHash = [1], At = Now });
        Assert.NotNull(inside.TimesOvertaken("acme"));
        var theirs = await Execute(there, new ChangeTimeZone("Europe/Paris") { Id = "there", ContentHash = [1], At = Now });
        Assert.Equal(2, theirs.Events[^1].Version);

        var answer = await Execute(here, new ChangeTimeZone("Europe/Rome") { Id = "here", ContentHash = [1], At = Now });
        Assert.Equal(3, answer.Events[^1].Version);
        for (var i = 0; i < 500 && inside.TimesOvertaken("acme") is not null; i++) await Task.Delay(20);
        Assert.Null(inside.TimesOvertaken("acme"));

        // The next call finds it anew, and nobody is in its way.
        Assert.Equal(4, (await Execute(here, new ChangeTimeZone("Europe/Madrid") { Id = "again", ContentHash = [1], At = Now })).Events[^1].Version);
        Assert.Equal(0, inside.TimesOvertaken("acme"));
        Assert.True((await Execute(here, new ChangeTimeZone("Europe/Paris") { Id = "there", ContentHash = [1], At = Now })).Replayed);
    }

    private static async Task<CommandResult> Execute(ILedgerHost host, Command command)
    {
        var result = await host.Organization("acme").Execute(command);
        Assert.Null(result.Rejection);
        return result;
    }
}
