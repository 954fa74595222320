using System.Text.Json;
using Billing.Grains;
using Billing.Silo;

namespace Billing.Api.Stripe;

/// <summary>Which customer an organization is at Stripe: made once, from its profile, when one is first needed. One that webhooks told of is used.</summary>
public sealed class StripeCustomers(IStripeGateway? gateway, CustomerDirectory directory, Profiles profiles, ILedgerHost host, StripeEvents events, Clock clock)
{
    private readonly Turns turns = new();

    private IStripeGateway Stripe => gateway ?? throw Services.NoStripe();

    /// <summary>Its customer, linked to it before anybody uses it.</summary>
    /// <param name="organization">One that is opened and not closed.</param>
    public Task<string> For(string organization) => turns.Take(organization, async () => await FindNow(organization) ?? await Make(organization));

    /// <summary>Its customer; null when there is none, or only ones that were deleted at Stripe.</summary>
    public Task<string?> Find(string organization) => turns.Take(organization, () => FindNow(organization));

    /// <summary>Its customer's name, e-mail and address become the profile's.</summary>
    public Task Update(string organization) => turns.Take(organization, async () =>
    {
        if (gateway is not null && await FindNow(organization) is { } customer)
            await Stripe.Send(StripeRequests.UpdateCustomer(organization, customer, await profiles.Find(organization)));
        return true;
    });

    /// <summary>Of several, the one that pays for the subscription.</summary>
    private async Task<string?> FindNow(string organization)
    {
        var paying = (await host.Organization(organization).Subscription(clock.Now()))?.Customer;
        foreach (var customer in (await directory.Of(organization)).OrderByDescending(c => c == paying))
            if (await IsThere(customer)) return customer;
        return null;
    }

    private async Task<string> Make(string organization)
    {
        var known = await directory.Of(organization);
        for (var number = 1; ; number++)
        {
            var made = await Stripe.Send(StripeRequests.CreateCustomer(organization, await profiles.Find(organization), number));
            FaultPoints.Reach("customer:made");
            var customer = made.Text("id")!;
            // This number was made before, and deleted at Stripe since.
            if (known.Contains(customer) || !await IsThere(customer)) continue;
            await Link(organization, customer);
            // The request that was stored first may be older than the profile.
            var profile = await profiles.Find(organization);
            if (made.Text("name") != profile?.Name || made.Text("email") != profile?.Email) await Stripe.Send(StripeRequests.UpdateCustomer(organization, customer, profile));
            return customer;
        }
    }

    /// <summary>As an event that names both would.</summary>
    private async Task Link(string organization, string customer)
    {
        await host.Organization(organization).Execute(StripeTranslation.LinkTo(customer, clock.Now()));
        FaultPoints.Reach("customer:recorded");
        var isNew = await directory.Link(customer, organization);
        FaultPoints.Reach("customer:linked");
        if (isNew) await events.Claim(organization, customer);
    }

    /// <summary>A deleted customer still answers, and says that it is deleted.</summary>
    private async Task<bool> IsThere(string customer) => await Stripe.Find(StripeRequests.Customer(customer)) is { } found && found.Get("deleted")?.ValueKind != JsonValueKind.True;
}

/// <summary>One after the other for each organization, within this process. Now and then one waits for another organization's turn.</summary>
internal sealed class Turns
{
    private readonly SemaphoreSlim[] turns = [.. Enumerable.Range(0, 64).Select(_ => new SemaphoreSlim(1))];

    public async Task<T> Take<T>(string organization, Func<Task<T>> what)
    {
        var turn = turns[unchecked((uint)organization.GetHashCode(StringComparison.Ordinal)) % turns.Length];
        await turn.WaitAsync();
        try
        {
            return await what();
        }
        finally
        {
            turn.Release();
        }
    }
}
