using System.Collections.Immutable;
using NodaTime;

namespace Billing.Ledger;

/// <summary>What a denial's sentence ends with, when something could be bought.</summary>
public static class WayOut
{
    internal const string UpgradeOrTokens = " Upgrade or buy tokens.";
    internal const string Upgrade = " Upgrade to go on.";
    internal const string UpgradeForFeature = " Upgrade to use it.";
    internal const string Tokens = " Buy tokens to go on.";

    private static readonly string[] All = [UpgradeOrTokens, Upgrade, UpgradeForFeature, Tokens];

    /// <summary>The sentence for somebody to whom nothing is offered.</summary>
    public static string Without(string message) => Array.Find(All, end => message.EndsWith(end, StringComparison.Ordinal)) is { } found ? message[..^found.Length] : message;
}

/// <summary>How the ledger says no: the code, the status, a sentence for a person, and the way out.</summary>
internal static class Denials
{
    public static Denial Closed(Ask ask) =>
        new(RejectionKind.OrganizationClosed, 410, "This account is closed.", ask.Feature, ask.Units, 0, ask.Now, ask.State.Version, [], [], null);

    public static Denial SubscriptionInactive(Ask ask, PlanInForce force)
    {
        var status = force.Subscription?.Status ?? SubscriptionStatus.None;
        var message = status switch
        {
            SubscriptionStatus.PastDue or SubscriptionStatus.Unpaid => "Your last payment failed. Update your payment method to go on.",
            SubscriptionStatus.Incomplete or SubscriptionStatus.IncompleteExpired => "Your first payment has not gone through. Complete it to go on.",
            SubscriptionStatus.Paused => "Your subscription is paused. Resume it to go on.",
            SubscriptionStatus.None => "There is no active subscription. Choose a plan to go on.",
            _ => "Your subscription has ended. Subscribe again to go on.",
        };
        return Make(ask, RejectionKind.SubscriptionInactive, 402, message, null, [], [], null);
    }

    public static Denial NotInPlan(Ask ask)
    {
        var upgrades = Upgrades(ask, _ => true);
        var message = $"Your plan does not include {ask.Feature.Name}." + (upgrades.IsEmpty ? "" : WayOut.UpgradeForFeature);
        return Make(ask, RejectionKind.FeatureNotInPlan, 403, message, null, upgrades, [], null);
    }

    public static Denial RateLimited(Ask ask, PlanFeature given, RateLimit rate, Instant until)
    {
        var upgrades = Upgrades(ask, other => other.RateLimits.All(r => PerMonth(r.Limit, r.Window) > PerMonth(rate.Limit, rate.Window)));
        var message = $"At most {Number(rate.Limit, given)} {ask.Feature.Name} {Each(rate.Window)} are allowed. Try again after {Time(until)}.";
        return Make(ask, RejectionKind.RateLimited, 429, message, 0, upgrades, [], until);
    }

    public static Denial QuotaExceeded(Ask ask, PlanFeature given, Entitlement entitlement)
    {
        var upgrades = Upgrades(ask, other => GivesMore(other, given));
        ImmutableArray<string> packages = given.BurnsTokens ? [.. ask.Catalogs.Current.TokenPackages.Select(p => p.Id)] : [];
        var limit = entitlement.Limit ?? 0;
        var left = entitlement.Remaining ?? 0;
        var name = ask.Feature.Name;
        var fact = limit == 0 ? $"Your plan includes no {name}."
            : left == 0 ? $"You have used {(entitlement.Held > 0 ? "or reserved " : "")}all {Number(limit, given)} {name}{During(given)}."
            : $"This needs {Number(ask.Units, given)} {name}, and {Number(left, given)} of {Number(limit, given)} are left{During(given)}.";
        var wayOut = (upgrades.IsEmpty, packages.IsEmpty) switch
        {
            (false, false) => WayOut.UpgradeOrTokens,
            (false, true) => WayOut.Upgrade,
            (true, false) => WayOut.Tokens,
            _ => entitlement.ResetsAt is { } at ? $" More is available from {Time(at)}." : "",
        };
        return Make(ask, RejectionKind.QuotaExceeded, given.DenyStatus, fact + wayOut, entitlement.Remaining, upgrades, packages, entitlement.ResetsAt);
    }

    /// <summary>Waiting does not help: the window is closed.</summary>
    public static Denial LateQuotaExceeded(Ask ask, PlanFeature given, Entitlement entitlement, Bounds window)
    {
        ImmutableArray<string> packages = given.BurnsTokens ? [.. ask.Catalogs.Current.TokenPackages.Select(p => p.Id)] : [];
        var message = $"This needs {Number(ask.Units, given)} {ask.Feature.Name}, and {Number(entitlement.Remaining ?? 0, given)} of {Number(entitlement.Limit ?? 0, given)} were left"
            + $" from {Time(window.Start)} to {Time(window.End)}." + (packages.IsEmpty ? "" : WayOut.Tokens);
        return Make(ask, RejectionKind.QuotaExceeded, given.DenyStatus, message, entitlement.Remaining, [], packages, null);
    }

    public static Denial SpendCapReached(Ask ask, PlanFeature given, Entitlement entitlement, ReachedCap cap)
    {
        var upgrades = Upgrades(ask, other => GivesMore(other, given));
        ImmutableArray<string> packages = given.BurnsTokens ? [.. ask.Catalogs.Current.TokenPackages.Select(p => p.Id)] : [];
        var what = cap.Feature is null ? "overage" : ask.Feature.Name;
        var message = $"This would cost more than the {Pricing.Text(cap.Cap)} that you allow for {what} in this billing period. Raise the spend cap to go on.";
        return Make(ask, RejectionKind.SpendCapReached, 402, message, entitlement.Remaining, upgrades, packages, cap.Until);
    }

    private static Denial Make(
        Ask ask, RejectionKind kind, int status, string message, long? remaining, ImmutableArray<string> upgrades, ImmutableArray<string> packages, Instant? resetsAt)
    {
        ask.Why?.Add("decision", "denied", ("code", Spelling.Of(kind)), ("status", status));
        return new Denial(kind, status, message, ask.Feature, ask.Units, remaining, ask.Now, ask.State.Version, upgrades, packages, resetsAt)
        {
            CatalogVersion = ask.Catalogs.Current.Version, UsedAt = ask.At == ask.Now ? null : ask.At,
        };
    }

    /// <summary>The plans on sale that would help, in the catalog's order; one by invitation only when the organization has it.</summary>
    private static ImmutableArray<string> Upgrades(Ask ask, Func<PlanFeature, bool> helps)
    {
        var current = Subscriptions.InForce(ask.State, ask.Catalogs, ask.Now).Plan?.Id;
        var invitations = ask.State.Account.Invitations;
        return [.. ask.Catalogs.Current.Plans.Where(p => p.Id != current && p.IsFor(ask.State.Organization) && (!p.InviteOnly || invitations.Contains(p.Id)) 
            && Overrides.Given(ask.State, p, ask.Feature, ask.Now) is { On: true } other && helps(other)).Select(p => p.Id)];
    }

    private static bool GivesMore(PlanFeature other, PlanFeature given)
    {
        if (other.PricesOverage && !given.PricesOverage) return true;
        return PerMonth(other.Allowance, other.Window) > PerMonth(given.Allowance, given.Window);
    }

    /// <summary>Makes allowances of different windows comparable. What is given once for a lifetime is the least.</summary>
    private static decimal PerMonth(long? units, Window window) => units is not { } amount ? decimal.MaxValue : window switch
    {
        Window.Hour => amount * 720m,
        Window.Day => amount * 30m,
        Window.Lifetime => amount / 1_000_000m,
        _ => amount,
    };

    private static string Number(long units, PlanFeature given) => Quantity.ToDecimal(units, given.Feature.Meter!.Decimals).ToString("#,0.#########");

    private static string Time(Instant at) => at.InUtc().ToString("yyyy-MM-dd HH:mm 'UTC'", null);

    private static string Each(Window window) => window switch
    {
        Window.Hour => "an hour",
        Window.Day => "a day",
        Window.Month => "a month",
        _ => "in a billing period",
    };

    private static string During(PlanFeature given) => given.IsGauge ? "" : given.Window switch
    {
        Window.Hour => " this hour",
        Window.Day => " today",
        Window.Month => " this month",
        Window.Period => " in this billing period",
        _ => "",
    };
}
