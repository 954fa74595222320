using Billing.Silo.Storage.Postgres;
using Billing.Silo.Storage.Sqlite;
using Dapper;

namespace Billing.Bench;

/// <summary>The whole run: what is sent over HTTP first, then what is measured in this process, then starts.</summary>
public sealed class Measuring(Options options, TemporaryFolder folder, Report report)
{
    private const int OpeningConnections = 32;

    public void RunAll()
    {
        var machine = new Machine(options, folder);
        foreach (var note in machine.Notes) Console.WriteLine(note);
        report.Notes.AddRange(machine.Notes);
        if (options.Only.Contains("trace") && options.TraceFile is null) report.Notes.Add("The trace is left out: --trace names a file with one.");

        if (options.Only.Overlaps([.. Scenarios.Names, Webhooks.Name, Tokens.Name])) OverHttp(machine);
        if (options.Only.Overlaps([.. Books.Names, Activation.Name])) InProcess(machine).GetAwaiter().GetResult();
        if (options.Only.Contains(Residents.Name)) foreach (var measured in Residents.Measure(options.ResidentCount, folder).GetAwaiter().GetResult()) report.Add(1, measured);
        if (options.Only.Contains(Known.Name)) Known.Run(options, machine, report);
        if (options.Only.Contains(Starts.Name)) Rounds(round => Starts.Run(round, machine, report));
    }

    private void OverHttp(Machine machine)
    {
        var subjects = machine.StartSubjects();
        var organizations = Math.Max(options.Organizations, options.Many);
        foreach (var subject in subjects.Where(s => s.Store is not null))
        {
            var opened = new Load("opening", subject, OpeningConnections, [subject.Opening], _ => Walk.InTurn(organizations)).Times(organizations);
            report.Check([opened], subject.Store!.Journal, 0);
            Console.WriteLine($"{subject.Name}: {opened.Acknowledged} organizations are open.");
        }
        var scenarios = new Scenarios(options, subjects, report);
        Rounds(scenarios.Run);
        if (options.Only.Contains(Webhooks.Name)) Rounds(new Webhooks(options, [.. subjects.Where(s => s.Store is not null)], report).Run);
        if (options.Only.Contains(Tokens.Name)) Rounds(new Tokens(options, [.. subjects.Where(s => s.Store is not null)], report).Run);
        foreach (var server in subjects.Select(s => s.Server).Distinct()) server.Dispose();
    }

    private async Task InProcess(Machine machine)
    {
        var path = Path.Combine(folder.New("books"), "ledger.db");
        await using var file = SqliteDatabase.Open(path);
        List<SampleDatabase> databases = [new(Subject.Sqlite, file, JournalReader.OfFile(path))];
        var address = machine.Postgres is { } postgres ? postgres.ConnectionString(postgres.CreateDatabase()) : null;
        await using var server = address is null ? null : PostgresDatabase.Open(address);
        if (server is not null) databases.Add(new(Subject.Postgres, server, JournalReader.OfServer(address!)));
        foreach (var (subject, database, _) in databases)
        {
            await Sample.Write(database, options.StreamEvents);
            // PostgreSQL does so by itself within a minute after that much has come in.
            if (database is PostgresDatabase) await database.Write(c => c.Execute("ANALYZE events"));
            Console.WriteLine($"{subject}: one stream of {options.StreamEvents} events is written.");
        }
        var books = new Books(options, databases, report);
        var activation = new Activation(options, databases, report);
        for (var round = 0; round <= options.Rounds; round++)
        {
            await books.Run(round);
            if (options.Only.Contains(Activation.Name)) await activation.Run(round);
        }
    }

    /// <summary>The round before the first is not kept.</summary>
    private void Rounds(Action<int> run)
    {
        for (var round = 0; round <= options.Rounds && report.Errors.Count == 0; round++) run(round);
    }
}
