using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;
using NodaTime.Text;
using Spectre.Console;

namespace Billing.Cli;

/// <param name="Organizations">Empty is all.</param>
/// <param name="Csv">Null writes none.</param>
internal sealed record Trial(string Catalog, Instant? From, Instant? To, IReadOnlyList<string> Organizations, string? Csv, string? DenialsCsv);

/// <summary>`billing ledger what-if`.</summary>
internal static class Trying
{
    private const int PageSize = 1_000;
    private const int DenialsShown = 20;

    public static async Task<int> Run(Terminal terminal, JournalFile file, Trial trial, CancellationToken stop)
    {
        var defaults = Defaults();
        var other = await ReadCatalog(trial.Catalog, defaults, stop);
        var now = Instant.FromDateTimeOffset(terminal.Time.GetUtcNow());
        var (from, to) = (trial.From ?? Instant.MinValue, trial.To ?? Instant.MaxValue);
        if (from >= to) throw new UsageException("--from must be before --to.");

        await using var database = file.Open();
        var journal = database.Journal;
        var catalogs = await new CatalogStore(database, defaults).Load();
        IReadOnlyList<string> organizations = trial.Organizations.Count > 0 ? trial.Organizations : (await database.TakeInventory()).Organizations;
        foreach (var organization in trial.Organizations)
            if (!await LedgerStream.Exists(journal, organization)) throw new UsageException($"There is no organization '{organization}' in '{file.Shown}'.");

        var found = new ConcurrentBag<WhatIfResult>();
        await terminal.Progress("Folding", organizations.Count, async report =>
        {
            await Parallel.ForEachAsync(organizations, stop, async (organization, cancel) =>
            {
                found.Add(await Fold(journal, organization, new WhatIf(organization, catalogs, other, from, to), trial.To ?? now, cancel));
                report(found.Count);
            });
            return 0;
        });
        List<WhatIfResult> results = [.. found.OrderBy(r => r.Organization, StringComparer.Ordinal)];
        var currency = catalogs.Current.Currency;

        if (trial.DenialsCsv is { } denials) await File.WriteAllTextAsync(denials, DenialsCsv(results), stop);
        if (trial.Csv == "-")
        {
            await terminal.Out.WriteAsync(Csv(results, currency));
            return ExitCode.Good;
        }
        if (trial.Csv is { } csv) await File.WriteAllTextAsync(csv, Csv(results, currency), stop);
        await Print(terminal, results, currency);
        return ExitCode.Good;
    }

    private static async Task<WhatIfResult> Fold(IJournal journal, string organization, WhatIf whatIf, Instant end, CancellationToken stop)
    {
        for (var last = 0L; ;)
        {
            stop.ThrowIfCancellationRequested();
            var page = await journal.ReadStream(organization, last + 1, PageSize);
            foreach (var stored in page)
            {
                whatIf.Take(EventCodec.Default.Decode(stored));
                last = stored.Version;
            }
            if (page.Count < PageSize) return whatIf.Result(end);
        }
    }

    // ---- showing

    private static async Task Print(Terminal terminal, List<WhatIfResult> results, string currency)
    {
        var table = new Table().AddColumn("Organization");
        foreach (var column in (string[])[$"Charges then ({currency})", "now", "change", "Past a limit then", "now", "Refused now", "first at", "Tokens then", "now"])
            table.AddColumn(new TableColumn(column).RightAligned());
        foreach (var r in results) Row(Markup.Escape(r.Organization), r.Then, r.Now, r.Denied.Length, r.Denied.IsEmpty ? null : r.Denied.Min(d => d.At));
        if (results.Count > 1)
        {
            var denied = results.SelectMany(r => r.Denied).ToList();
            table.AddEmptyRow();
            Row("[bold]Total[/]", Sum(r => r.Then), Sum(r => r.Now), denied.Count, denied.Count == 0 ? null : denied.Min(d => d.At));
        }
        terminal.Print(table);

        var all = results.SelectMany(r => r.Denied.Select(d => (r.Organization, Denied: d))).OrderBy(d => d.Denied.At).ToList();
        if (all.Count > 0)
        {
            var blocked = new Table().Title("Who would have been refused, and when").AddColumns("At", "Organization", "Feature", "Quantity", "Why");
            foreach (var (organization, d) in all.Take(DenialsShown))
                blocked.AddRow(InstantPattern.ExtendedIso.Format(d.At), Markup.Escape(organization), Markup.Escape(d.Feature), d.Quantity.ToString(CultureInfo.InvariantCulture), d.Code);
            terminal.Print(blocked);
            if (all.Count > DenialsShown) await terminal.Out.WriteLineAsync($"{all.Count - DenialsShown:N0} more: --denials-csv FILE has all of them.");
        }
        foreach (var r in results)
            foreach (var problem in r.Problems) await terminal.Error.WriteLineAsync($"{r.Organization}: {problem}");
        await terminal.Out.WriteLineAsync("What was refused then left nothing in the journal: all use here was taken then. Charges are before discount and tax.");

        void Row(string name, Outcome then, Outcome now, int denied, Instant? first) => table.AddRow(
            name, Amount(then.Charges, currency), Amount(now.Charges, currency), Change(now.Charges - then.Charges, currency), then.OverLimit.ToString("N0", CultureInfo.InvariantCulture),
            now.OverLimit.ToString("N0", CultureInfo.InvariantCulture), denied.ToString("N0", CultureInfo.InvariantCulture), first is { } at ? InstantPattern.General.Format(at) : "",
            then.TokensBurned.ToString("N0", CultureInfo.InvariantCulture), now.TokensBurned.ToString("N0", CultureInfo.InvariantCulture));

        Outcome Sum(Func<WhatIfResult, Outcome> of) => results.Select(of).Aggregate((a, b) =>
            new Outcome(a.Base + b.Base, a.Overage + b.Overage, a.TokensBurned + b.TokensBurned, a.Recorded + b.Recorded, a.OverLimit + b.OverLimit));
    }

    private static string Csv(List<WhatIfResult> results, string currency)
    {
        var csv = new StringBuilder("organization,currency,base_then,base_now,overage_then,overage_now,charges_then,charges_now,over_limit_then,over_limit_now,denied_now,tokens_then,tokens_now\n");
        foreach (var r in results)
            csv.Append(CultureInfo.InvariantCulture, $"{r.Organization},{currency},{r.Then.Base},{r.Now.Base},{r.Then.Overage},{r.Now.Overage},{r.Then.Charges},{r.Now.Charges},")
                .Append(CultureInfo.InvariantCulture, $"{r.Then.OverLimit},{r.Now.OverLimit},{r.Denied.Length},{r.Then.TokensBurned},{r.Now.TokensBurned}\n");
        return csv.ToString();
    }

    private static string DenialsCsv(List<WhatIfResult> results)
    {
        var csv = new StringBuilder("at,organization,feature,quantity,code\n");
        foreach (var (organization, d) in results.SelectMany(r => r.Denied.Select(d => (r.Organization, d))).OrderBy(d => d.d.At))
            csv.Append(CultureInfo.InvariantCulture, $"{InstantPattern.ExtendedIso.Format(d.At)},{organization},{d.Feature},{d.Quantity},{d.Code}\n");
        return csv.ToString();
    }

    private static string Amount(long minor, string currency)
    {
        var scale = Pricing.MinorUnits(currency);
        return ((decimal)minor / scale).ToString(scale == 1 ? "N0" : scale == 1_000 ? "N3" : "N2", CultureInfo.InvariantCulture);
    }

    private static string Change(long minor, string currency) => minor > 0 ? "+" + Amount(minor, currency) : Amount(minor, currency);

    // ---- reading

    private static async Task<Catalog> ReadCatalog(string path, CatalogDefaults defaults, CancellationToken stop)
    {
        if (!File.Exists(path)) throw new UsageException($"There is no catalog at '{path}'.");
        var (catalog, problems) = CatalogReader.Read(await File.ReadAllBytesAsync(path, stop), defaults);
        return catalog ?? throw new UsageException($"The catalog {path} has {problems.Count} problem(s):{string.Concat(problems.Select(p => $"\n  {p}"))}");
    }

    /// <summary>As the service is told by its environment.</summary>
    private static CatalogDefaults Defaults() => new(Days("DEFAULT_TRIAL_DAYS", 14), Days("BILLING_GRACE_PERIOD_DAYS", 3));

    private static int Days(string name, int byDefault) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out var days) ? days : byDefault;
}
