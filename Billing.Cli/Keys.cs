using System.CommandLine;
using System.Text.Json.Nodes;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage;
using NodaTime;
using NodaTime.Text;
using Spectre.Console;

namespace Billing.Cli;

/// <summary>`billing keys …`: in the journal's database itself, so that there can be a first key. A running service takes it up within seconds.</summary>
internal static class Keys
{
    private const int UsualOverlapHours = 1;
    private const int MaxOverlapHours = 30 * 24;

    private static readonly Option<bool> Json = new("--json") { Description = "JSON for programs.", Recursive = true };

    public static Command Group(Terminal terminal) => new("keys", "API keys, in the journal's database itself: for the first one, and for whoever has no key. A running service takes changes up within seconds.")
    {
        LedgerCommands.Journal, Json, Create(terminal), List(terminal), Rotate(terminal), Revoke(terminal),
    };

    private static Command Create(Terminal terminal)
    {
        var name = new Argument<string>("NAME") { Description = "What the key is for, in 1 to 100 characters." };
        var organization = new Option<string?>("--organization") { Description = "The one organization that it is for; without it, an operator's key for all.", HelpName = "ORG" };
        var scopes = new Option<string[]>("--scope") { Description = $"One of {ScopeNames.List}; several may be said. Without any: all that such a key may have.", HelpName = "SCOPE", AllowMultipleArgumentsPerToken = true };
        var test = new Option<bool>("--test") { Description = "For test organizations; without it, for live ones." };
        var expires = new Option<string?>("--expires") { Description = "When it ends, such as 2027-01-01T00:00:00Z; without it, never.", HelpName = "TIME" };
        var command = new Command("create", "Make a key. It is shown this once.") { name, organization, scopes, test, expires };
        command.SetAction((parsed, _) => With(terminal, parsed, async (keys, database, now) =>
        {
            if (parsed.GetValue(name) is not { Length: > 0 and <= 100 } text) throw new UsageException("Name the key, in 1 to 100 characters.");
            var (id, isTest) = (parsed.GetValue(organization), parsed.GetValue(test));
            if (id is not null) isTest = await IsTest(database, id) ?? throw new UsageException($"There is no organization '{id}'.");
            var possible = id is null ? Scopes.All : Scopes.OfOrganization;
            var asked = parsed.GetValue(scopes) is { Length: > 0 } names ? ScopeNames.Read(names) ?? throw new UsageException($"Scopes are {ScopeNames.List}.") : possible;
            if ((asked & ~possible) != 0) throw new UsageException("A key for one organization cannot have ops: that is for all of them.");
            var ends = parsed.GetValue(expires) is { } time ? TimeOf(time) : (Instant?)null;
            if (ends <= now) throw new UsageException("It would have expired already.");
            var made = await Recorded(database, "key.create", id, null, now, async () => await keys.Create(text, id, asked, isTest, ends, now) is var (key, kept) ? new Made(key, kept) : null, m => m.Kept);
            await Show(terminal, parsed, made!.Key, made.Kept);
            return ExitCode.Good;
        }));
        return command;
    }

    private static Command List(Terminal terminal)
    {
        var command = new Command("list", "The keys, as far as they may be shown.");
        command.SetAction((parsed, _) => With(terminal, parsed, async (keys, _, _) =>
        {
            var all = keys.List();
            if (parsed.GetValue(Json))
            {
                await terminal.Out.WriteLineAsync(new JsonArray([.. all.Select(Of)]).ToJsonString(Terminal.Indented));
                return ExitCode.Good;
            }
            var table = new Table().AddColumns("Id", "Name", "Organization", "Scopes", "Key", "Made", "Last used", "Ends");
            foreach (var k in all)
                table.AddRow(k.Id, Markup.Escape(k.Name), k.Organization ?? "all", string.Join(' ', ScopeNames.Of(k.Scopes)), Markup.Escape(k.Display), TextOf(k.CreatedAt), k.LastUsedAt is { } used ? TextOf(used) : "never", k.ExpiresAt is { } ends ? TextOf(ends) : "");
            terminal.Print(table);
            return ExitCode.Good;
        }));
        return command;
    }

    private static Command Rotate(Terminal terminal)
    {
        var id = new Argument<string>("ID") { Description = "The key's id, as `list` shows it." };
        var overlap = new Option<int>("--overlap-hours") { Description = $"For how long the old key stays good, 0 to {MaxOverlapHours}.", HelpName = "HOURS", DefaultValueFactory = _ => UsualOverlapHours };
        var command = new Command("rotate", "Make a key in the place of another, which stays good for a while. It is shown this once.") { id, overlap };
        command.SetAction((parsed, _) => With(terminal, parsed, async (keys, database, now) =>
        {
            if (parsed.GetValue(overlap) is not (>= 0 and <= MaxOverlapHours) and var hours) throw new UsageException($"The overlap is 0 to {MaxOverlapHours} hours, and not {hours}.");
            if (await Recorded(database, "key.rotate", OrganizationOf(keys, parsed.GetValue(id)!), parsed.GetValue(id), now, async () => await keys.Rotate(parsed.GetValue(id)!, Duration.FromHours(parsed.GetValue(overlap)), now) is var (key, kept) ? new Made(key, kept) : null, m => m.Kept) is not { } made)
                throw new UsageException($"There is no key '{parsed.GetValue(id)}' to rotate: it is unknown, or was revoked or rotated.");
            await Show(terminal, parsed, made.Key, made.Kept);
            return ExitCode.Good;
        }));
        return command;
    }

    private static Command Revoke(Terminal terminal)
    {
        var id = new Argument<string>("ID") { Description = "The key's id, as `list` shows it." };
        var command = new Command("revoke", "End a key.") { id };
        command.SetAction((parsed, _) => With(terminal, parsed, async (keys, database, now) =>
        {
            var organization = OrganizationOf(keys, parsed.GetValue(id)!);
            if (await Recorded(database, "key.revoke", organization, parsed.GetValue(id), now, async () => await keys.Revoke(parsed.GetValue(id)!, now) ? "revoked" : null, _ => null) is null) throw new UsageException($"There is no key '{parsed.GetValue(id)}' to revoke.");
            await terminal.Out.WriteLineAsync($"{parsed.GetValue(id)} is revoked. A running service refuses it within seconds.");
            return ExitCode.Good;
        }));
        return command;
    }

    private static async Task<int> With(Terminal terminal, ParseResult parsed, Func<ApiKeys, Database, Instant, Task<int>> work)
    {
        await using var database = LedgerCommands.JournalOf(parsed).OpenToWrite();
        var keys = new ApiKeys(database);
        await keys.Load();
        return await work(keys, database, Micros.Truncate(Instant.FromDateTimeOffset(terminal.Time.GetUtcNow())));
    }

    /// <summary>A key and what is kept of it.</summary>
    private sealed record Made(string Key, ApiKey Kept);

    private static string? OrganizationOf(ApiKeys keys, string id) => keys.List().FirstOrDefault(k => k.Id == id)?.Organization;

    /// <summary>What is done here is in the audit log, as what is done over the API: by whom, the system says.</summary>
    private static async Task<T?> Recorded<T>(Database database, string what, string? organization, string? about, Instant now, Func<Task<T?>> work, Func<T, ApiKey?> after) where T : class
    {
        var log = await AuditLog.Open(database, now);
        var named = about is { Length: <= 100 } && about.StartsWith("key_", StringComparison.Ordinal) ? about : null;
        var entry = new AuditEntry(Guid.NewGuid().ToString("N"), now, "billing-keys", Environment.UserName, what, organization, named, null, null, $"billing-{Guid.NewGuid():N}", null);
        await log.Begin(entry);
        var done = await work();
        await (done is null
            ? log.End(entry, AuditOutcome.Refused, "not_found", null, now)
            : log.End(entry, AuditOutcome.Done, null, after(done) is { } key ? new JsonObject { ["id"] = key.Id, ["name"] = key.Name, ["organization"] = key.Organization, ["scopes"] = string.Join(' ', ScopeNames.Of(key.Scopes)) }.ToJsonString() : null, now));
        return done;
    }

    /// <returns>Null when there is no such organization. It is what its first event says.</returns>
    private static async Task<bool?> IsTest(Database database, string organization) =>
        await database.Journal.ReadStream(organization, 1, 1) is [var first] && EventCodec.Default.Decode(first) is Billing.Ledger.OrganizationOpened opened ? opened.Test : null;

    private static async Task Show(Terminal terminal, ParseResult parsed, string key, ApiKey kept)
    {
        if (parsed.GetValue(Json))
        {
            var json = Of(kept);
            json["key"] = key;
            await terminal.Out.WriteLineAsync(json.ToJsonString(Terminal.Indented));
            return;
        }
        await terminal.Out.WriteLineAsync(key);
        await terminal.Error.WriteLineAsync($"{kept.Id} for {kept.Organization ?? "all organizations"}: {string.Join(", ", ScopeNames.Of(kept.Scopes))}. The key is shown this once.");
    }

    private static JsonObject Of(ApiKey key) => new()
    {
        ["id"] = key.Id, ["name"] = key.Name, ["organization"] = key.Organization, ["scopes"] = new JsonArray([.. ScopeNames.Of(key.Scopes).Select(s => JsonValue.Create(s))]), ["test"] = key.Test,
        ["display"] = key.Display, ["created_at"] = TextOf(key.CreatedAt), ["expires_at"] = key.ExpiresAt is { } ends ? TextOf(ends) : null, ["last_used_at"] = key.LastUsedAt is { } used ? TextOf(used) : null,
        ["replaced_by"] = key.ReplacedBy,
    };

    private static Instant TimeOf(string text) => OffsetDateTimePattern.Rfc3339.Parse(text) is { Success: true, Value: var time }
        ? time.ToInstant()
        : throw new UsageException($"'{text}' is no time: write it as 2027-01-01T00:00:00Z.");

    private static string TextOf(Instant at) => InstantPattern.General.Format(at);
}
