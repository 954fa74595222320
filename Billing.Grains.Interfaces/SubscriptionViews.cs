using System.Text.Json.Serialization;
using Billing.Ledger;
using NodaTime;

namespace Billing.Grains;

// Changes of subscriptions and of catalog versions, before they are made.

/// <summary>What waits for the period's end.</summary>
[GenerateSerializer, Alias("ScheduledChangeView"), Immutable]
public sealed record ScheduledChangeView(string Plan, string Interval, Instant At);

/// <summary>What a change of the subscription would come to. Nothing is written; made at this moment, it is what follows.</summary>
/// <param name="Plan">The plan in force when the change counts.</param>
/// <param name="EffectiveAt">When limits change: now, or at the period's end.</param>
/// <param name="Lines">What the change itself gives back and costs, to the second.</param>
/// <param name="Amount">The lines together, before discount and exclusive tax.</param>
/// <param name="Invoice">The invoice that is made at once; null when the lines wait for the next one.</param>
/// <param name="NextInvoice">The next one after that, if nothing more is used until then.</param>
/// <param name="Estimate">The subscription is at Stripe, which was not asked and makes its own lines: these are computed from the catalog's prices.</param>
[GenerateSerializer, Alias("ChangePreviewView"), Immutable]
public sealed record ChangePreviewView(
    string? Plan, string Status, Instant EffectiveAt, IReadOnlyList<InvoiceLineView> Lines, Money Amount, UpcomingInvoiceView? Invoice, UpcomingInvoiceView? NextInvoice,
    IReadOnlyList<LimitChangeView> Limits, bool Estimate)
{
    /// <summary>At Stripe: from when it is prorated. Sent with the change, the change comes to the same.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public Instant? ProrationDate { get; init; }

    /// <summary>As the decision on the same state says.</summary>
    public static ChangePreviewView Of(ChangePreview preview, Catalogs catalogs)
    {
        var force = Subscriptions.InForce(preview.After, catalogs, preview.EffectiveAt);
        var currency = preview.Lines.IsEmpty ? preview.After.Subscriptions.Own?.Kept?.Currency ?? catalogs.Current.Currency : preview.Lines[0].Currency;
        return new ChangePreviewView(
            force.Plan?.Id, Spelling.Of(force.Subscription?.Status ?? SubscriptionStatus.None), preview.EffectiveAt, [.. preview.Lines.Select(l => InvoiceLineView.Of(l, catalogs))],
            new Money(preview.Lines.Sum(l => l.Amount), currency),
            preview.Invoice is { } invoice ? UpcomingInvoiceView.Of(invoice, catalogs) : null, preview.NextInvoice is { } next ? UpcomingInvoiceView.Of(next, catalogs) : null,
            LimitChangeView.Between(preview.Before, preview.Now, preview.After, preview.EffectiveAt, catalogs), preview.AtStripe);
    }
}

/// <summary>What one feature's limit is before and after.</summary>
/// <param name="Before">Whether it is given at all; <paramref name="After"/> likewise.</param>
/// <param name="LimitBefore">Whole units in one window; null is unlimited, or not metered.</param>
/// <param name="Used">In the running window when the change counts.</param>
/// <param name="OverLimit">More is used than the limit after it.</param>
[GenerateSerializer, Alias("LimitChangeView"), Immutable]
public sealed record LimitChangeView(string Feature, bool Before, bool After, decimal? LimitBefore, decimal? LimitAfter, decimal Used, bool OverLimit)
{
    /// <summary>Static features: their values.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? ValueBefore { get; init; }

    /// <summary>As above.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? ValueAfter { get; init; }

    /// <summary>Every feature that is given before or after, in the catalog's order.</summary>
    internal static IReadOnlyList<LimitChangeView> Between(State before, Instant beforeAt, State after, Instant afterAt, Catalogs catalogs)
    {
        var limits = new List<LimitChangeView>();
        foreach (var feature in catalogs.Current.Features)
        {
            var (was, now) = (Entitlements.Evaluate(before, catalogs, feature, null, beforeAt), Entitlements.Evaluate(after, catalogs, feature, null, afterAt));
            var (had, has) = (IsGiven(was), IsGiven(now));
            if (!had && !has) continue;
            limits.Add(new LimitChangeView(feature.Id, had, has, Whole(was.Limit), Whole(has ? now.Limit : feature.Meter is null ? null : 0), Quantity.ToDecimal(now.Used, now.Decimals), has && now.Used > now.Limit)
            {
                ValueBefore = was.Value,
                ValueAfter = now.Value,
            });

            decimal? Whole(long? units) => units is { } some ? Quantity.ToDecimal(some, feature.Meter?.Decimals ?? 0) : null;
        }
        return limits;
    }

    private static bool IsGiven(Entitlement e) => e.Denial is not { Kind: RejectionKind.FeatureNotInPlan or RejectionKind.SubscriptionInactive or RejectionKind.OrganizationClosed };
}

/// <summary>Either a preview or why the change would be refused.</summary>
[GenerateSerializer, Alias("ChangePreviewResult"), Immutable]
public readonly record struct ChangePreviewResult(ChangePreviewView? Preview, Rejection? Rejection);

/// <summary>One organization's move to another version of the catalog.</summary>
/// <param name="Status">would_move, moved or refused.</param>
/// <param name="Plan">The subscription's plan, or the operator's.</param>
/// <param name="PriceBefore">For a period; the new price counts from the next one. Null for a plan that an operator gave.</param>
/// <param name="OverLimit">Features of which more is used than the new limit.</param>
[GenerateSerializer, Alias("CatalogMoveView"), Immutable]
public sealed record CatalogMoveView(
    string Organization, string Status, string? Plan, int? FromVersion, int ToVersion, Money? PriceBefore, Money? PriceAfter, IReadOnlyList<LimitChangeView> Limits,
    IReadOnlyList<string> OverLimit)
{
    /// <summary>The code of the refusal.</summary>
    [Id(0), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Code { get; init; }

    /// <summary>Why it is refused, and what would be right.</summary>
    [Id(1), JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] public string? Detail { get; init; }

    /// <summary>As the decision on the same state says.</summary>
    public static CatalogMoveView Of(CatalogMove move, Catalogs catalogs)
    {
        var limits = move.Rejection is null ? LimitChangeView.Between(move.Before, move.Now, move.After, move.Now, catalogs) : [];
        return new CatalogMoveView(
            move.Before.Organization, move.Rejection is null ? "would_move" : "refused", move.Plan, move.From, move.To, move.PriceBefore?.Amount, move.PriceAfter?.Amount, limits,
            [.. limits.Where(l => l.OverLimit).Select(l => l.Feature)])
        {
            Code = move.Rejection?.Code,
            Detail = move.Rejection?.Message,
        };
    }

    /// <summary>It cannot be moved.</summary>
    public static CatalogMoveView Refused(string organization, int toVersion, Rejection why) =>
        new(organization, "refused", null, null, toVersion, null, null, [], []) { Code = why.Code, Detail = why.Message };
}
