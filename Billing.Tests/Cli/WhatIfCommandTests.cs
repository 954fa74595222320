using System.Text;
using Billing.Cli;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Ledger;
using NodaTime;
using Spectre.Console;

namespace Billing.Tests.Cli;

/// <summary>`billing ledger what-if` as somebody at a terminal has it.</summary>
public sealed class WhatIfCommandTests : IAsyncLifetime
{
    private const string Catalog = """
        {
          "fallback_plan": "free",
          "features": { "jobs": { "name": "jobs", "type": "metered", "meter": { "unit": "job" }, "mode": "overage", "unit_price": "0.50" } },
          "plans": { "free": { "name": "Free", "features": { "jobs": 10 } } }
        }
        """;

    private static readonly Instant Opened = Instant.FromUtc(2026, 11, 2, 10, 0);

    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;

    public async Task InitializeAsync()
    {
        await using var database = SqliteDatabase.Open(Journal);
        var catalogs = new CatalogStore(database, new CatalogDefaults());
        Assert.Empty(await catalogs.Publish(Encoding.UTF8.GetBytes(Catalog), Opened));
        await using var host = new LedgerHost(new SqliteJournal(database), () => catalogs.Current, long.MaxValue);
        foreach (var (organization, jobs) in ((string, int)[])[("acme", 30), ("beta", 5)])
        {
            await host.Organization(organization).Execute(Spec.New(new OpenOrganization("UTC", false, null) { Id = "", ContentHash = [], At = default }) with { At = Opened });
            Assert.Null((await host.Organization(organization).Execute(Spec.Use("jobs", jobs) with { At = Opened + Duration.FromDays(1) })).Rejection);
        }
    }

    public Task DisposeAsync()
    {
        Directory.Delete(folder, recursive: true);
        return Task.CompletedTask;
    }

    private string Journal => Path.Combine(folder, "ledger.db");

    private string Write(string catalog)
    {
        var path = Path.Combine(folder, "new.json");
        File.WriteAllText(path, catalog);
        return path;
    }

    private async Task<(int Code, string Out, string Error)> Run(params string[] args)
    {
        var (text, error) = (new StringWriter(), new StringWriter());
        var clock = new SettableClock(Instant.FromUtc(2026, 11, 20, 10, 0));
        var code = await Program.Run(["ledger", "what-if", .. args, "--journal", Journal], new Terminal(Stream.Null, text, error, Stream.Null, clock, InteractionSupport.No));
        return (code, text.ToString(), error.ToString());
    }

    [Fact]
    public async Task charges_then_and_now_stand_beside_each_other_with_a_total()
    {
        var (code, text, _) = await Run("--catalog", Write(Catalog.Replace("\"0.50\"", "\"0.75\"").Replace("\"jobs\": 10", "\"jobs\": 4")));

        Assert.Equal(0, code);
        Assert.Matches(@"acme.*10\.00.*19\.50.*\+9\.50", text);
        Assert.Matches(@"beta.*0\.00.*0\.75.*\+0\.75", text);
        Assert.Matches(@"Total.*10\.00.*20\.25.*\+10\.25", text);
    }

    [Fact]
    public async Task who_would_have_been_refused_is_named_with_the_time()
    {
        var blocked = Write(Catalog.Replace("\"overage\"", "\"block\""));
        var denials = Path.Combine(folder, "denials.csv");
        var (code, text, _) = await Run("--catalog", blocked, "--denials-csv", denials);

        Assert.Equal(0, code);
        Assert.Matches(@"2026-11-03T10:00:00Z.*acme.*jobs.*30.*quota_exceeded", text);
        Assert.Equal("at,organization,feature,quantity,code\n2026-11-03T10:00:00Z,acme,jobs,30,quota_exceeded\n", await File.ReadAllTextAsync(denials));
    }

    [Fact]
    public async Task as_csv_there_is_a_line_for_each_organization_and_nothing_is_written_into_the_journal()
    {
        var before = await File.ReadAllBytesAsync(Journal);
        var (code, text, _) = await Run("--catalog", Write(Catalog), "--csv", "-", "--org", "acme");

        Assert.Equal(0, code);
        Assert.Equal(
            "organization,currency,base_then,base_now,overage_then,overage_now,charges_then,charges_now,over_limit_then,over_limit_now,denied_now,tokens_then,tokens_now\n"
            + "acme,usd,0,0,1000,1000,1000,1000,0,0,0,0,0\n", text);
        Assert.Equal(before, await File.ReadAllBytesAsync(Journal));
    }

    [Fact]
    public async Task what_happened_outside_the_time_asked_for_does_not_count()
    {
        var (code, text, _) = await Run("--catalog", Write(Catalog.Replace("\"overage\"", "\"block\"")), "--from", "2026-11-04", "--to", "2026-11-10T00:00:00Z", "--csv", "-");

        Assert.Equal(0, code);
        Assert.Contains("\nacme,usd,0,0,1000,0,1000,0,0,0,0,0,0\n", text);
    }

    [Theory]
    [InlineData("There is no organization 'nobody'", "--org", "nobody")]
    [InlineData("--from is 'yesterday'. Write a time like", "--from", "yesterday")]
    [InlineData("--from must be before --to.", "--from", "2026-11-20", "--to", "2026-11-01")]
    public async Task what_cannot_be_is_refused_with_what_would_be_right(string sentence, params string[] args)
    {
        var (code, _, error) = await Run(["--catalog", Write(Catalog), .. args]);

        Assert.Equal(2, code);
        Assert.Contains(sentence, error);
    }

    [Fact]
    public async Task every_problem_of_the_catalog_is_named()
    {
        var (code, _, error) = await Run("--catalog", Write("""{ "features": {}, "plans": { "a": { "name": "A", "price": 1 } } }"""));

        Assert.Equal(2, code);
        Assert.Contains("$.plans.a.price: Unknown field.", error);
        Assert.Contains("There is no catalog at", (await Run("--catalog", Path.Combine(folder, "none.json"))).Error);
    }
}
