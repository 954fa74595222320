using System.Text;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>A difference, and whether it is one no longer.</summary>
public sealed record DifferenceView(string Kind, string Object, string Field, string? Ledger, string? Stripe, string ExplainedBy, string? Repair, bool Repaired);

/// <summary>How much was compared.</summary>
/// <param name="Payments">Payments for tokens.</param>
/// <param name="Events">Of the last 30 days.</param>
public sealed record ReconciledView(int Customers, int Subscriptions, int Invoices, int Payments, int Events);

/// <param name="Repaired">How many of the differences are none any more.</param>
public sealed record ReconciliationView(string Organization, ReconciledView Checked, IReadOnlyList<DifferenceView> Differences, int Repaired);

/// <summary>Nothing, or to repair what differs.</summary>
/// <param name="Repair">Without it, differences are only shown.</param>
/// <param name="Reason">With repair it must be said. Kept in the audit log for ever: no names, no addresses.</param>
public sealed record ReconcileBody(bool Repair, string? Reason);

/// <summary>Compares organizations with Stripe, and makes the ledger say what Stripe says.</summary>
public sealed class Reconciler(Services services) : IDisposable
{
    /// <summary>A purchase is repaired before what went back of it can be.</summary>
    private const int Rounds = 4;

    private readonly RecentEvents? recent = services.StripeOrNull is { } stripe ? new RecentEvents(stripe, services.Clock) : null;

    /// <summary>Compares one organization.</summary>
    /// <returns>Null when there is no such organization.</returns>
    public async Task<ReconciliationView?> Run(string organization, bool repair, CancellationToken stop)
    {
        var stripe = services.Stripe;
        await recent!.Refresh(stop);
        if (await Compare(organization, stop) is not var (side, differences)) return null;
        var asked = side.AskedAt;
        var (left, refusals) = (differences, new Dictionary<string, string>());
        for (var round = 0; repair && round < Rounds && left.Any(d => d.Repair is not null); round++)
        {
            var before = left;
            // First as it would have happened by itself. Then the late webhook is one that was here already.
            if (round == 0) await TakeEvents(before, stop);
            else await RunCommands(organization, asked, before, refusals, stop);
            (var again, left) = (await Compare(organization, stop))!.Value;
            asked = again.AskedAt;
            if (round > 0 && left.Count == before.Count && left.Zip(before).All(p => p.First.IsSameAs(p.Second))) break;
        }
        var versions = await services.Journal.FindCommands(organization, [.. differences.Select(d => d.KnownBy).OfType<string>().Distinct()]);
        var views = differences.Select(d => new DifferenceView(d.Kind, d.Object, d.Field, d.Ledger, d.Stripe, Explained(d), d.Repair?.Says, repair && !left.Any(d.IsSameAs))).ToList();
        var payments = side.TokenPayments.Select(p => p.Reference("payment_intent") ?? p.Text("id")).Distinct().Count();
        return new ReconciliationView(
            organization, new ReconciledView(side.Customers.Count, side.Subscriptions.Count, side.Invoices.Count, payments, side.Events.Count), views, views.Count(v => v.Repaired));

        string Explained(Difference d) =>
            d.ExplainedBy + (d.KnownBy is { } id && versions.TryGetValue(id, out var known) ? $" The ledger says otherwise since version {known.Version}." : "")
            + (refusals.TryGetValue(d.Object, out var refusal) ? $" It could not be repaired: {refusal}" : "");
    }

    private async Task<(StripeSide Side, IReadOnlyList<Difference> Differences)?> Compare(string organization, CancellationToken stop)
    {
        // The ledger first: so Stripe's word is never the older one.
        if (await services.Host.Organization(organization).Followed() is not { } ledger) return null;
        var directory = await services.Customers.Of(organization);
        var kept = await services.StripeInvoices.List(organization, null, null, int.MaxValue);
        var side = await StripeSide.Fetch(services.Stripe, recent!, services.Inbox, organization, ledger, directory, services.Clock.Now(), stop);
        return (side, Comparison.Of(organization, ledger, directory, kept, await BilledLines(organization, side), side, new PriceBook(services.Catalogs, services.Settings.PriceIds), services.Clock.Now()));
    }

    /// <summary>What the ledger charges on these invoices: the command is named after the invoice.</summary>
    private async Task<IReadOnlyList<BilledLines>> BilledLines(string organization, StripeSide side)
    {
        var ids = side.Invoices.Select(i => i.Text("id")!).ToDictionary(id => $"stripe:invoice:{id}:usage");
        var billed = new List<BilledLines>();
        foreach (var (command, recorded) in await services.Journal.FindCommands(organization, [.. ids.Keys]))
            if (await services.Journal.ReadStream(organization, recorded.Version, 1) is [{ IsArchived: false } stored] && EventCodec.Default.Decode(stored) is LinesBilledAtStripe e)
                billed.Add(new BilledLines(ids[command], e.Version, e.Lines.Length, e.Lines.Sum(l => l.Amount), e.Lines[0].Currency));
        return billed;
    }

    /// <summary>Takes the events that explain differences, the oldest first, as if they had come now.</summary>
    private async Task TakeEvents(IReadOnlyList<Difference> differences, CancellationToken stop)
    {
        foreach (var id in differences.SelectMany(d => d.Repair?.Events ?? []).Distinct())
        {
            if (await services.Inbox.Find(id) is null)
            {
                if (await services.Stripe.Find(StripeRequests.Event(id), stop) is not { } json) continue;
                var payload = Encoding.UTF8.GetBytes(json.GetRawText());
                if (StripeEvent.Parse(payload) is not { } e) continue;
                await services.StripeEvents.Receive(e, payload);
                FaultPoints.Reach("reconcile:received");
            }
            await services.StripeEvents.Replay(id, stop);
            FaultPoints.Reach("reconcile:replayed");
        }
    }

    private async Task RunCommands(string organization, Instant asked, IReadOnlyList<Difference> differences, Dictionary<string, string> refusals, CancellationToken stop)
    {
        foreach (var difference in differences.Where(d => d.Repair is not null))
        {
            var repair = difference.Repair!;
            if (repair.Commands.Count > 0)
            {
                var results = await services.Host.Organization(organization).ExecuteAll(repair.Commands, atomic: false);
                if (results.Select(r => r.Rejection).FirstOrDefault(r => r is not null) is { } refused) refusals[difference.Object] = refused.Message;
                FaultPoints.Reach("reconcile:executed");
            }
            if (repair.Invoice is { } invoice) await services.StripeInvoices.Save(invoice, asked, InvoiceSaidBy.Stripe);
            FaultPoints.Reach("reconcile:kept");
            if (repair.AddTo is { } draft)
            {
                try
                {
                    await services.StripeEvents.Steps.AddToDraft(organization, draft, stop);
                }
                catch (StripeException e) when (!e.IsPassing)
                {
                    refusals[difference.Object] = e.Message;
                }
            }
            foreach (var customer in repair.Commands.OfType<LinkCustomer>().Select(l => l.Customer).Append(repair.Link).OfType<string>().Distinct())
                if (await services.Customers.Link(customer, organization))
                {
                    FaultPoints.Reach("reconcile:linked");
                    await services.StripeEvents.Claim(organization, customer);
                }
        }
    }

    public void Dispose() => recent?.Dispose();
}
