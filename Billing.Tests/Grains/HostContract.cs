using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage.Sqlite;
using Billing.Tests.Ledger;
using NodaTime;

namespace Billing.Tests.Grains;

/// <summary>What every engine keeps to: the same commands have the same answers, whoever runs the organizations.</summary>
public abstract class HostContract
{
    /// <summary>An engine that runs.</summary>
    /// <param name="Residents">How many organizations its processes have in memory.</param>
    /// <param name="End">What ends it.</param>
    private protected sealed record Running(ILedgerHost Host, Func<int> Residents, IAsyncDisposable End) : IAsyncDisposable
    {
        public ValueTask DisposeAsync() => End.DisposeAsync();
    }

    private protected abstract Task<Running> Start(IJournal journal, Catalogs catalogs);

    [Fact]
    public async Task identical_commands_have_identical_answers_and_leave_the_same_chain()
    {
        const int Seed = 20_261_120;
        var dice = new Random(Seed);
        // Half of it is use, as in life.
        var samples = Enumerable.Range(0, 6).Select(_ => Enumerable.Range(0, 80)
            .Select(_ => new PropertyTests.Step(dice.Next(2) * dice.Next(29), dice.Next(10_000), dice.Next(10_000), dice.Next(12) == 0 ? dice.Next(20_000) : dice.Next(60))).ToArray()).ToList();
        var (embedded, ofEmbedded) = await Run(samples, (journal, catalogs) => Task.FromResult(InProcess(journal, catalogs)));
        var (here, ofHere) = await Run(samples, Start);

        Assert.Equal(embedded, here);
        Assert.Equal(ofEmbedded, ofHere);
        Assert.All(ofHere, head => Assert.True(head.Version > 5));
    }

    /// <summary>Everything that was answered, and where the streams end.</summary>
    private static async Task<(List<string> Answers, List<(long Version, string Hash)> Heads)> Run(List<PropertyTests.Step[]> samples, Func<IJournal, Catalogs, Task<Running>> start)
    {
        await using var file = new JournalFile();
        await using var engine = await start(file.Journal, PropertyTests.Catalogs);
        var host = engine.Host;
        var (answers, heads) = (new List<string>(), new List<(long, string)>());
        foreach (var (number, steps) in samples.Index())
        {
            var id = $"org-{number}";
            var organization = host.Organization(id);
            // What each command is made of is found by deciding it here, too.
            var (now, state, events) = (Instant.FromUtc(2026, 1, 29, 22, 30), State.Empty(id), new List<LedgerEvent>());
            await Do(new OpenOrganization("Europe/Berlin", true, null) { Id = "open", ContentHash = [1], At = now });
            foreach (var (at, step) in steps.Index())
            {
                now += Duration.FromMinutes(step.Minutes);
                await Do(PropertyTests.CommandOf(step, at, now, state, events) with { Id = $"step-{at}", ContentHash = [2], At = now });
            }
            // Each of them again changes nothing, and is told as what it was.
            answers.Add(StateText.Of(await organization.Execute(new OpenOrganization("Europe/Berlin", true, null) { Id = "open", ContentHash = [1], At = now })));
            await Read(organization, answers, now);
            var head = (await file.Journal.ReadHead(id))!;
            heads.Add((head.Version, Convert.ToHexString(head.Hash)));

            async Task Do(Command command)
            {
                answers.Add(StateText.Of(await organization.Execute(command)));
                foreach (var e in Decider.Decide(state, PropertyTests.Catalogs, command, null).Events)
                {
                    state = state.Evolve(e);
                    events.Add(e);
                }
            }
        }
        return (answers, heads);
    }

    /// <summary>Everything that can be read of an organization.</summary>
    private static async Task Read(IOrganizationLedger organization, List<string> answers, Instant now)
    {
        foreach (var feature in PropertyTests.Catalogs.Current.Features.Select(f => f.Id).Append("unheard-of"))
        {
            answers.Add(StateText.Of(await organization.Check(feature, 1, now)));
            answers.Add(StateText.Of(await organization.Explain(feature, null, now)));
        }
        answers.Add(StateText.Of(await organization.PreviewChange(Subscribing.Start("pro") with { Id = "preview", ContentHash = [3], At = now })));
        answers.Add(StateText.Of(await organization.PreviewMove(1, now)));
        // Those that take nothing, or the time.
        foreach (var method in typeof(IOrganizationLedger).GetMethods().Where(m => m.GetParameters() is var p && (p.Length == 0 || (p.Length == 1 && p[0].ParameterType == typeof(Instant)))).OrderBy(m => m.Name, StringComparer.Ordinal))
        {
            dynamic task = method.Invoke(organization, method.GetParameters().Length == 0 ? null : [now])!;
            answers.Add($"{method.Name} {StateText.Of((object?)await task.AsTask())}");
        }
    }

    [Fact]
    public async Task many_callers_of_one_organization_never_get_more_than_there_is()
    {
        await using var file = new JournalFile();
        await using var engine = await Start(file.Journal, Sessions.Catalogs);
        var host = engine.Host;
        var organization = host.Organization("acme");
        await organization.Execute(Sessions.Open());

        var results = await Task.WhenAll(Enumerable.Range(0, 400).Select(i => host.Organization("acme").Execute(Sessions.Use($"use-{i}", "jobs")).AsTask()));

        Assert.Equal(300, results.Count(r => r.Rejection is null));
        Assert.All(results.Where(r => r.Rejection is not null), r => Assert.Equal(RejectionKind.QuotaExceeded, r.Rejection!.Kind));
        // Every one of them again finds what was done.
        var again = await Task.WhenAll(Enumerable.Range(0, 400).Select(i => host.Organization("acme").Execute(Sessions.Use($"use-{i}", "jobs")).AsTask()));
        Assert.Equal(300, again.Count(r => r.Replayed));
        Assert.Equal(301, (await file.Journal.ReadHead("acme"))!.Version);
    }

    [Fact]
    public async Task several_commands_are_recorded_together_or_not_at_all()
    {
        await using var file = new JournalFile();
        await using var engine = await Start(file.Journal, Sessions.Catalogs);
        var host = engine.Host;
        var organization = host.Organization("acme");
        await organization.Execute(Sessions.Open());

        var refused = await organization.ExecuteAll([Sessions.Use("a", "jobs"), Sessions.Use("b", "jobs", 500)], atomic: true);
        var taken = await organization.ExecuteAll([Sessions.Use("c", "jobs"), Sessions.Use("d", "jobs", 500), Sessions.Use("e", "jobs", 2)], atomic: false);

        Assert.All(refused, r => Assert.Equal(RejectionKind.QuotaExceeded, r.Rejection!.Kind));
        Assert.Equal([true, false, true], taken.Select(r => r.Rejection is null));
        Assert.Equal(3, (await organization.Check("jobs", 1, Sessions.At)).Entitlement!.Used);
    }

    [Fact]
    public async Task a_check_never_waits_behind_an_append()
    {
        var journal = new ScriptedJournal();
        await using var engine = await Start(journal, Sessions.Catalogs);
        var host = engine.Host;
        var organization = host.Organization("acme");
        await organization.Execute(Sessions.Open());
        var gate = journal.Hold();

        var writing = organization.Execute(Sessions.Use("slow", "jobs")).AsTask();
        await gate.Entered;
        // As it was before: what is not durable is not there.
        Assert.Equal(0, (await organization.Check("jobs", 1, Sessions.At)).Entitlement!.Used);
        Assert.False(writing.IsCompleted);
        gate.Release();
        Assert.Null((await writing).Rejection);
        Assert.Equal(1, (await organization.Check("jobs", 1, Sessions.At)).Entitlement!.Used);
    }

    [Fact]
    public async Task what_does_not_exist_is_told_so_and_takes_no_memory()
    {
        await using var file = new JournalFile();
        await using var engine = await Start(file.Journal, Sessions.Catalogs);
        var host = engine.Host;
        var organization = host.Organization("nobody");

        Assert.Equal(RejectionKind.OrganizationUnknown, (await organization.Check("jobs", 1, Sessions.At)).Rejection!.Kind);
        Assert.Null(await organization.Read(Sessions.At));
        Assert.Null(await organization.Invoices());
        Assert.Equal(RejectionKind.OrganizationUnknown, (await organization.Execute(Sessions.Use("a", "jobs"))).Rejection!.Kind);
        Assert.Equal(0, engine.Residents());
    }

    [Fact]
    public async Task a_journal_that_fails_is_told_of_and_the_same_command_finds_out_later()
    {
        var journal = new ScriptedJournal();
        await using var engine = await Start(journal, Sessions.Catalogs);
        var host = engine.Host;
        var organization = host.Organization("acme");
        await organization.Execute(Sessions.Open());
        // Written each time, and nobody hears of it.
        for (var i = 0; i < 3; i++) journal.FailAfterWriting();

        var result = await Retried(() => organization.Execute(Sessions.Use("once", "jobs")));

        Assert.Null(result.Rejection);
        Assert.Equal(2, (await journal.ReadHead("acme"))!.Version);
    }

    private static async Task<CommandResult> Retried(Func<ValueTask<CommandResult>> call)
    {
        while (true)
        {
            try
            {
                return await call();
            }
            catch (JournalUnavailableException)
            {
                await Task.Yield();
            }
        }
    }

    private protected static Running InProcess(IJournal journal, Catalogs catalogs)
    {
        var host = new LedgerHost(journal, () => catalogs, maxResidentBytes: long.MaxValue);
        return new Running(host, () => host.ResidentCount, host);
    }

    /// <summary>A journal in a SQLite file of its own.</summary>
    private sealed class JournalFile : IAsyncDisposable
    {
        private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
        private readonly SqliteDatabase database;

        public JournalFile() => database = SqliteDatabase.Open(Path.Combine(folder, "ledger.db"));

        public IJournal Journal => database.Journal;

        public async ValueTask DisposeAsync()
        {
            await database.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }
}

/// <summary>The embedded engine.</summary>
public sealed class InProcessHostTests : HostContract
{
    private protected override Task<Running> Start(IJournal journal, Catalogs catalogs) => Task.FromResult(InProcess(journal, catalogs));
}
