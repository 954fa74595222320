using System.Data.Common;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>Takes Stripe's events from the inbox into the ledger. Every step may be repeated: effects are known by what they are about.</summary>
public sealed class StripeEvents(Inbox inbox, CustomerDirectory customers, ILedgerHost host, CatalogStore catalogs, Settings settings, Clock clock)
{
    /// <summary>Stores the event, durably, then applies it. A failure to apply leaves it in the inbox, to be tried again.</summary>
    public async Task Receive(StripeEvent e, byte[] payload)
    {
        var isOurs = StripeTranslation.Table.ContainsKey(e.Type);
        var isNew = await inbox.Store(e.Id, e.Type, e.Created, e.Customer, payload, isOurs ? InboxState.Pending : InboxState.Ignored, clock.Now());
        if (!isOurs) return;
        if (!isNew && await inbox.Find(e.Id) is { State: InboxState.Applied or InboxState.Ignored }) return;
        try
        {
            await Apply(e);
        }
        catch (Exception unavailable) when (unavailable is JournalUnavailableException or DbException)
        {
            // It is stored and pending: the retry applies it, so Stripe need not send it again.
        }
    }

    /// <summary>Applies one stored event again.</summary>
    /// <returns>What became of it; null when there is no such event, or its body is gone.</returns>
    public async Task<InboxEvent?> Replay(string id)
    {
        if (await inbox.Find(id) is not { Payload: { } payload } || StripeEvent.Parse(payload) is not { } e) return null;
        await Apply(e);
        return await inbox.Find(id);
    }

    /// <summary>Applies what was stored and not applied, such as before a crash.</summary>
    public Task ApplyPending() => ApplyAll(InboxState.Pending);

    /// <summary>Looks once more at everything that nobody claimed: a crash may have come between a link and what waited for it.</summary>
    public Task ApplyUnclaimed() => ApplyAll(InboxState.Unclaimed);

    private async Task ApplyAll(InboxState state)
    {
        string? after = null;
        while (true)
        {
            var page = await inbox.List(state, after, 100);
            foreach (var stored in page)
            {
                try
                {
                    await Replay(stored.Id);
                }
                catch (JournalUnavailableException)
                {
                    // It stays where it is; those behind it may be another organization's.
                }
            }
            if (page.Count < 100) return;
            after = page[^1].Id;
        }
    }

    /// <summary>Applies what waited for this organization to be opened, or for this customer to be linked.</summary>
    public async Task Claim(string organization, string? customer)
    {
        foreach (var stored in await inbox.ListUnclaimed(organization, customer)) await Replay(stored.Id);
    }

    /// <summary>Takes a subscription as Stripe shows it now.</summary>
    public async Task Follow(string organization, JsonElement subscription)
    {
        var now = clock.Now();
        // What is known by then is known by its content.
        var id = $"fetched:{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(subscription.GetRawText())))[..16]}";
        var fetched = new StripeEvent(id, "customer.subscription.updated", now, StripeEvent.PinnedVersion, subscription);
        await Take(organization, StripeTranslation.Subscription(fetched, new PriceBook(catalogs.Current, settings.PriceIds), now, SnapshotRank.Refetched));
    }

    /// <summary>Takes a checkout session as Stripe shows it now, with its subscription: what its webhook brings, for a page that need not wait for it.</summary>
    public async Task Fulfil(string organization, JsonElement session)
    {
        if (session.Text("status") != "complete") return;
        var now = clock.Now();
        // In whole seconds, as Stripe's own events are.
        var fetched = new StripeEvent("fetched", "checkout.session.completed", Instant.FromUnixTimeSeconds(now.ToUnixTimeSeconds()), StripeEvent.PinnedVersion, session);
        await Take(organization, StripeTranslation.CheckoutSession(fetched, now));
        if (session.Get("subscription") is { ValueKind: JsonValueKind.Object } subscription) await Follow(organization, subscription);
    }

    private async Task Take(string organization, Translation translation)
    {
        if (translation.Commands.Count == 0) return;
        await host.Organization(organization).ExecuteAll(translation.Commands, atomic: false);
        foreach (var link in translation.Commands.OfType<LinkCustomer>())
            if (await customers.Link(link.Customer, organization)) await Claim(organization, link.Customer);
    }

    private async Task Apply(StripeEvent e)
    {
        var translation = StripeTranslation.Table[e.Type](e, new PriceBook(catalogs.Current, settings.PriceIds), clock.Now());
        if (translation.Failure is { } failure)
        {
            await inbox.Mark(e.Id, InboxState.Failed, translation.Organization, failure);
            return;
        }
        try
        {
            if (await TryApply(e, translation)) return;
            await inbox.Mark(e.Id, InboxState.Unclaimed, translation.Organization, "Its organization is not known yet.");
            // It may have been opened or linked between looking and marking; then nobody else would look again.
            await TryApply(e, translation);
        }
        catch (Exception failed) when (failed is not (JournalUnavailableException or DbException or OperationCanceledException))
        {
            // One event that cannot be applied must not hold up those behind it. A database that is away for a moment is no such event.
            await inbox.Mark(e.Id, InboxState.Failed, translation.Organization, $"It could not be applied: {failed.Message}");
        }
    }

    /// <returns>False when the organization is not known.</returns>
    private async Task<bool> TryApply(StripeEvent e, Translation translation)
    {
        var organization = translation.Organization ?? (e.Customer is { } customer ? await customers.Find(customer) : null);
        if (organization is null || !Ids.IsOrganization(organization))
        {
            // An event that would change nothing waits for nobody.
            if (translation.Commands.Count > 0 || translation.Organization is not null) return false;
            await inbox.Mark(e.Id, InboxState.Ignored, null, "It changes nothing here.");
            return true;
        }
        if (translation.Commands.Count == 0)
        {
            await inbox.Mark(e.Id, InboxState.Ignored, organization, "It changes nothing here.");
            return true;
        }

        var results = await host.Organization(organization).ExecuteAll(translation.Commands, atomic: false);
        if (results.Any(r => r.Rejection?.Kind == RejectionKind.OrganizationUnknown)) return false;
        // Before the event is marked: a crash in between leaves it to be applied, and so linked, again.
        var linked = new List<string>();
        // Only the event that links wakes what waits for it: events that waited themselves would wake each other in turn.
        foreach (var link in translation.Commands.OfType<LinkCustomer>())
            if (await customers.Link(link.Customer, organization)) linked.Add(link.Customer);
        var refused = results.Select(r => r.Rejection).FirstOrDefault(r => r is not null);
        await inbox.Mark(e.Id,
            // A failure of a top-up that was answered since changes nothing.
            refused is null ? InboxState.Applied : refused.Kind is RejectionKind.OrganizationClosed or RejectionKind.TopUpUnknown ? InboxState.Ignored : InboxState.Failed,
            organization, refused?.Message ?? Summary(results));

        foreach (var id in linked)
            foreach (var waiting in await inbox.ListUnclaimed(organization, id))
                if (waiting.Id != e.Id) await Replay(waiting.Id);
        return true;
    }

    private static string Summary(IReadOnlyList<CommandResult> results)
    {
        var versions = results.Where(r => !r.Replayed).SelectMany(r => r.Events).Select(x => x.Version).ToList();
        return versions.Count == 0 ? "Its effect was recorded before." : $"Recorded as version {string.Join(", ", versions)}.";
    }
}
