using System.Data.Common;
using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>What became of an event.</summary>
/// <param name="Organization">Null leaves what is known.</param>
public sealed record Outcome(InboxState State, string? Organization, string Detail);

/// <summary>Takes Stripe's events from the inbox into the ledger. Every step may be repeated: effects are known by what they are about.</summary>
public sealed class StripeEvents(Inbox inbox, CustomerDirectory customers, ILedgerHost host, CatalogStore catalogs, Settings settings, StripeSteps steps, Clock clock)
{
    /// <summary>An event of longer ago may be about what is different by now.</summary>
    private static readonly Duration Late = Duration.FromMinutes(1);

    private const string NotKnown = "Its organization is not known yet.";

    /// <summary>What rows of the table do after their commands.</summary>
    public StripeSteps Steps => steps;

    /// <summary>Somebody has to look at the inbox.</summary>
    public Action Wake { get; set; } = () => { };

    /// <summary>Stores the event. When this returns it is durable, and the workers apply it.</summary>
    public async Task Receive(StripeEvent e, byte[] payload)
    {
        var state = StripeTranslation.Table.ContainsKey(e.Type) ? InboxState.Pending : InboxState.Ignored;
        var isNew = await inbox.Store(e.Id, e.Type, e.Created, e.Organization, e.Customer, e.About, payload, state, clock.Now());
        if (state == InboxState.Pending) FaultPoints.Reach("webhook:stored");
        if (isNew) Wake();
    }

    /// <summary>Applies one stored event again.</summary>
    /// <returns>What became of it; null when there is no such event, or its body is gone.</returns>
    public async Task<InboxEvent?> Replay(string id, CancellationToken stop = default)
    {
        if (await inbox.Find(id) is not { Payload: not null } stored) return null;
        await Apply(stored, stop);
        return await inbox.Find(id);
    }

    /// <summary>What waited for this organization to be opened, or for this customer to be linked, is applied.</summary>
    public async Task Claim(string organization, string? customer)
    {
        if (await inbox.Claim(organization, customer) > 0) Wake();
    }

    /// <summary>A subscription is at Stripe as it was just answered there. It also says whose customer this is.</summary>
    /// <param name="subscription">Stripe's object.</param>
    /// <param name="fetchedAt">When it was asked for; null is now.</param>
    /// <returns>Why it cannot be followed; null when it was.</returns>
    public async Task<string?> Follow(string organization, JsonElement subscription, Instant? fetchedAt = null)
    {
        var now = clock.Now();
        // Of two answers of the same instant the one that is followed later is newer: the counter only grows.
        var e = new StripeEvent($"fetched_{System.Diagnostics.Stopwatch.GetTimestamp():D20}", "customer.subscription.updated", fetchedAt ?? now, null, subscription);
        var translation = StripeTranslation.Fetched(e, Prices, now);
        if (translation.Failure is { } failure) return failure;
        // It need not name the organization: we know it.
        return await Take(organization, e.Organization is null && e.Customer is { } customer ? [StripeTranslation.LinkTo(customer, now), .. translation.Commands] : translation.Commands);
    }

    /// <summary>Takes a checkout session as Stripe shows it now, with its subscription: what its webhook brings, for a page that need not wait for it.</summary>
    public async Task Fulfil(string organization, JsonElement session)
    {
        if (session.Text("status") != "complete") return;
        var now = clock.Now();
        // In whole seconds, as Stripe's own events are.
        var fetched = new StripeEvent("fetched", "checkout.session.completed", Instant.FromUnixTimeSeconds(now.ToUnixTimeSeconds()), StripeEvent.PinnedVersion, session);
        await Take(organization, StripeTranslation.CheckoutSession(fetched, now).Commands);
        // Once the ledger follows it, its own events say more.
        if (session.Get("subscription") is { ValueKind: JsonValueKind.Object } subscription && (await host.Organization(organization).Subscription(now))?.Id != subscription.Text("id"))
            await Follow(organization, subscription);
    }

    /// <returns>Why one of them was refused; null when none was.</returns>
    private async Task<string?> Take(string organization, IReadOnlyList<Command> commands)
    {
        if (commands.Count == 0) return null;
        var results = await host.Organization(organization).ExecuteAll(commands, atomic: false);
        await LinkAll(organization, commands);
        return results.Select(r => r.Rejection?.Message).FirstOrDefault(m => m is not null);
    }

    /// <summary>Applies a stored event and writes down what became of it.</summary>
    /// <exception cref="Exception">It may work later: the journal or Stripe is away.</exception>
    public async Task Apply(InboxEvent stored, CancellationToken stop)
    {
        if (stored.Payload is null || StripeEvent.Parse(stored.Payload) is not { } e) return;
        Outcome outcome;
        try
        {
            outcome = await Apply(e, stop);
            if (outcome.State == InboxState.Unclaimed)
            {
                await inbox.Mark(e.Id, outcome.State, outcome.Organization, outcome.Detail);
                // It may have been opened or linked between looking and marking; then nobody else would look again.
                outcome = await Apply(e, stop);
                if (outcome.State == InboxState.Unclaimed) return;
            }
        }
        catch (Exception failed) when (!MayPass(failed) && !stop.IsCancellationRequested)
        {
            // One event that cannot be applied must not hold up those behind it.
            outcome = new Outcome(InboxState.Failed, null, $"It could not be applied: {failed.Message}");
        }
        FaultPoints.Reach("webhook:applied");
        await inbox.Mark(e.Id, outcome.State, outcome.Organization, outcome.Detail);
        FaultPoints.Reach("webhook:marked");
        // Where nobody asked Stripe yet, a payment and its refund may have passed each other.
        if (StripeTranslation.MoneyBackTypes.Contains(e.Type) && outcome.State == InboxState.Ignored && await Apply(e, stop) is { State: InboxState.Applied } second)
            await inbox.Mark(e.Id, second.State, second.Organization, second.Detail);
    }

    /// <summary>Whether the same may work in a moment: a database or Stripe is away.</summary>
    public static bool MayPass(Exception e) =>
        e is JournalUnavailableException or DbException or TimeoutException or IOException or OperationCanceledException
            // A key that was rolled is put right within days, too.
            or StripeException { IsPassing: true } or StripeException { Status: 401 or 403 or 424 };

    private PriceBook Prices => new(catalogs.Current, settings.PriceIds);

    private async Task<Outcome> Apply(StripeEvent e, CancellationToken stop)
    {
        var row = StripeTranslation.Table[e.Type];
        var translation = row.Translate(e, Prices, clock.Now());
        if (translation.Failure is { } failure) return new Outcome(InboxState.Failed, translation.Organization, failure);

        var changesNothing = translation.Commands.Count == 0 && row.Then is null;
        var organization = translation.Organization ?? (e.Customer is { } customer ? await customers.Find(customer) : null);
        if (organization is null && StripeTranslation.MoneyBackTypes.Contains(e.Type)) organization = await steps.OrganizationOfPayment(e, stop);
        if (organization is null || !Ids.IsOrganization(organization))
        {
            // What would change nothing waits for nobody.
            return changesNothing ? new Outcome(InboxState.Ignored, null, translation.Note ?? "It changes nothing here.")
                : new Outcome(InboxState.Unclaimed, translation.Organization, NotKnown);
        }
        if (changesNothing) return new Outcome(InboxState.Ignored, organization, translation.Note ?? "It changes nothing here.");

        if (row.Rank is { } rank && await IsDoubtful(e, rank) && await LookUp(organization, e, stop) is { } found) return found;

        IReadOnlyList<CommandResult> results = translation.Commands.Count == 0 ? [] : await host.Organization(organization).ExecuteAll(translation.Commands, atomic: false);
        if (results.Any(r => r.Rejection?.Kind == RejectionKind.OrganizationUnknown)) return new Outcome(InboxState.Unclaimed, translation.Organization, NotKnown);
        FaultPoints.Reach("webhook:executed");
        // Before the event is marked: a crash in between leaves it to be applied, and so linked, again.
        await LinkAll(organization, translation.Commands);
        if (results.Select(r => r.Rejection).FirstOrDefault(r => r is not null) is { } refused)
            // A failure of a top-up that was answered since changes nothing.
            return new Outcome(refused.Kind is RejectionKind.OrganizationClosed or RejectionKind.TopUpUnknown ? InboxState.Ignored : InboxState.Failed, organization, refused.Message);
        // Something newer stands, or something that was looked up in the same second.
        if (row.Rank is not (null or SnapshotRank.Deleted) && steps.HasStripe && !results.Any(r => r.Events.Any(x => x is SubscriptionChanged && !r.Replayed))
            && await LookUp(organization, e, stop) is { } looked) return looked;
        if (row.Then is null) return new Outcome(InboxState.Applied, organization, Summary(results));
        return await row.Then(steps, new AppliedEvent(organization, e, results.Count == 0 ? null : Summary(results)), stop);
    }

    /// <summary>Whether Stripe has to be asked how the subscription is: seconds do not tell two changes of one second apart, nor what was changed since an old event.</summary>
    private async Task<bool> IsDoubtful(StripeEvent e, SnapshotRank rank)
    {
        if (!steps.HasStripe || rank == SnapshotRank.Deleted) return false;
        if (clock.Now() - e.Created > Late) return true;
        // The first of all is known to be older than the others of its second.
        return rank != SnapshotRank.Created && e.About is { } subscription
            && (await inbox.ListAbout(subscription)).Any(other => other.Id != e.Id && other.CreatedAt == e.Created && StripeTranslation.Table.GetValueOrDefault(other.Type)?.Rank == SnapshotRank.Updated);
    }

    /// <returns>Null when it is not at Stripe.</returns>
    private async Task<Outcome?> LookUp(string organization, StripeEvent e, CancellationToken stop)
    {
        // What stands may be of a later time than our clock's, where that is slow.
        var stands = (await host.Organization(organization).Followed())?.Subscriptions.FirstOrDefault(s => s.Id == e.About)?.Order?.EventCreatedAt;
        var asked = stands >= clock.Now() ? stands.Value + Duration.FromTicks(10) : clock.Now();
        if (await steps.Subscription(e, stop) is not { } subscription) return null;
        if (await host.Organization(organization).Read(asked) is null) return new Outcome(InboxState.Unclaimed, e.Organization, NotKnown);
        return await Follow(organization, subscription, asked) is { } refusal ? new Outcome(InboxState.Failed, organization, refusal)
            : new Outcome(InboxState.Applied, organization, "The event alone does not say what is newest: the subscription was looked up at Stripe.");
    }

    private async Task LinkAll(string organization, IEnumerable<Command> commands)
    {
        foreach (var link in commands.OfType<LinkCustomer>())
            // Only the event that links wakes what waits for it: events that waited themselves would wake each other in turn.
            if (await customers.Link(link.Customer, organization))
            {
                FaultPoints.Reach("webhook:linked");
                await Claim(organization, link.Customer);
            }
    }

    private static string Summary(IReadOnlyList<CommandResult> results)
    {
        var versions = results.Where(r => !r.Replayed).SelectMany(r => r.Events).Select(x => x.Version).ToList();
        return versions.Count == 0 ? "Its effect was recorded before." : $"Recorded as version {string.Join(", ", versions)}.";
    }
}
