using Billing.Grains.Journal;
using Billing.Silo.Storage;
using Dapper;
using NodaTime;

namespace Billing.Silo;

public enum StripeTaskKind
{
    /// <summary>A top-up was asked for.</summary>
    TopUp,

    /// <summary>Overage became due.</summary>
    Overage,

    /// <summary>The subscription at Stripe ended.</summary>
    Ending,

    /// <summary>The organization was closed.</summary>
    Closing,
}

/// <summary>Something that a ledger event asks to be done at Stripe.</summary>
/// <param name="Version">Of the event.</param>
/// <param name="Attempts">How often it failed.</param>
public sealed record StripeTask(string Organization, long Version, StripeTaskKind Kind, int Attempts = 0);

/// <summary>What is to be done at Stripe, kept until it is done. All of it may be done again.</summary>
public sealed class StripeTasks(Database database)
{
    private static readonly Duration FirstWait = Duration.FromSeconds(5);
    private static readonly Duration LongestWait = Duration.FromMinutes(10);

    // Dapper makes these by constructor, column by column.
    private sealed record Row(string Organization, long Version, string Kind, long Attempts);

    /// <summary>Durable when it returns. What is there already stays as it is.</summary>
    public Task Add(IReadOnlyList<StripeTask> tasks, Instant now) => database.Write(c => c.Execute(
        "INSERT INTO stripe_tasks (organization, version, kind, next_try_at) VALUES (@Organization, @Version, @kind, @now) ON CONFLICT (organization, version) DO NOTHING",
        tasks.Select(t => new { t.Organization, t.Version, kind = t.Kind.ToString(), now = Micros.Of(now) }).ToList()));

    /// <summary>What may be tried by now, what waits longest first.</summary>
    public Task<IReadOnlyList<StripeTask>> ListDue(Instant now, int limit) => database.Read<IReadOnlyList<StripeTask>>(c => c.Query<Row>(
        "SELECT organization, version, kind, attempts FROM stripe_tasks WHERE next_try_at <= @now ORDER BY next_try_at, organization, version LIMIT @limit", new { now = Micros.Of(now), limit })
        .Select(r => new StripeTask(r.Organization, r.Version, Enum.Parse<StripeTaskKind>(r.Kind), (int)r.Attempts)).ToList());

    public Task Done(StripeTask task) => database.Write(c => c.Execute("DELETE FROM stripe_tasks WHERE organization = @Organization AND version = @Version", task));

    /// <summary>Tried again after a while, and after a longer one each time.</summary>
    public Task Postpone(StripeTask task, string why, Instant now)
    {
        var wait = Duration.Min(LongestWait, FirstWait * (1L << Math.Min(task.Attempts, 20)));
        return database.Write(c => c.Execute(
            "UPDATE stripe_tasks SET attempts = attempts + 1, next_try_at = @next, detail = @why WHERE organization = @Organization AND version = @Version",
            new { task.Organization, task.Version, next = Micros.Of(now + wait), why }));
    }
}
