namespace Billing.Ledger;

/// <summary>The books: what must be true of every state, after every event.</summary>
public static class Invariants
{
    /// <returns>What is wrong, or null when the books close.</returns>
    public static string? Broken(State state)
    {
        foreach (var g in state.Grants)
        {
            if (g.Granted != g.Consumed + g.Held + g.Expired + g.Revoked + g.Remaining)
                return $"Grant {g.Id}: granted {g.Granted} is not consumed {g.Consumed} + held {g.Held} + expired {g.Expired} + revoked {g.Revoked} + remaining {g.Remaining}.";
            var held = 0L;
            foreach (var hold in state.Holds)
                foreach (var part in hold.Grants)
                    if (part.Grant == g.Id) held += part.Tokens;
            if (g.Held != held) return $"Grant {g.Id}: held {g.Held} is not {held}, which its open holds are.";
            if ((g.Consumed | g.Held | g.Expired | g.Revoked | g.Remaining | g.Debt) < 0) return $"Grant {g.Id} has a number below zero: {g}.";
        }
        foreach (var use in state.Usage)
        {
            if (use.Gauge is { Value: < 0 }) return $"The gauge {use.Feature} stands below zero.";
            foreach (var c in use.Counters)
            {
                if (c.Used != c.Allowance + c.ByTokens + c.Overage)
                    return $"{use.Feature} by {c.Window}: used {c.Used} is not allowance {c.Allowance} + tokens {c.ByTokens} + overage {c.Overage}.";
                if ((c.Used | c.Allowance | c.ByTokens | c.Overage) < 0) return $"{use.Feature} by {c.Window} has a number below zero: {c}.";
                if (c.Start >= c.End) return $"{use.Feature} by {c.Window} ends before it starts.";
            }
            foreach (var p in use.Past)
            {
                if (p.Used != p.Allowance + p.ByTokens + p.Overage)
                    return $"{use.Feature} by {p.Window} from {p.Start}: used {p.Used} is not allowance {p.Allowance} + tokens {p.ByTokens} + overage {p.Overage}.";
                if ((p.Used | p.Allowance | p.ByTokens | p.Overage) < 0 || p.Priced.Any(x => x.Units < 0)) return $"{use.Feature} by {p.Window} from {p.Start} has a number below zero: {p}.";
            }
        }
        for (var i = 1; i < state.Voided.Length; i++)
            if (state.Voided[i - 1] >= state.Voided[i]) return $"Voided records are not in order at version {state.Voided[i]}.";
        foreach (var hold in state.Holds)
        {
            if (hold.Quantity != hold.Allowance + hold.ByTokens + hold.Overage)
                return $"Hold {hold.Id}: {hold.Quantity} is not allowance {hold.Allowance} + tokens {hold.ByTokens} + overage {hold.Overage}.";
            if ((hold.Allowance | hold.ByTokens | hold.Overage) < 0 || hold.Quantity <= 0) return $"Hold {hold.Id} has a number that is too low: {hold}.";
            if (hold.ByTokens > 0 == hold.Grants.IsEmpty) return $"Hold {hold.Id}: {hold.ByTokens} by tokens, of {hold.Grants.Length} grants.";
            if (hold.ExpiresAt <= hold.PlacedAt) return $"Hold {hold.Id} ends before it starts.";
        }
        if (state.Holds.Length > Holds.MaxOpen) return $"{state.Holds.Length} holds are open.";
        foreach (var s in state.Subscriptions.Followed)
            if (s.Kept is { } kept)
            {
                if (s.Order is not null || s.PeriodStart >= s.PeriodEnd) return $"The subscription {s.Id} is kept, and at Stripe too or without a period.";
                if (s.Ended ? s.EndedAt is null || kept.Charged is not null || kept.Scheduled is not null : s.Id != state.Subscriptions.Own?.Id)
                    return $"The subscription {s.Id} is {s.Status}, and goes on beside another one or after its end.";
                if (s.Status == SubscriptionStatus.PastDue != kept.GraceUntil is not null) return $"The subscription {s.Id} is {s.Status} with a grace until {kept.GraceUntil}.";
                if (!s.Ended && s.CancelAtPeriodEnd && s.CancelAt != s.PeriodEnd) return $"The subscription {s.Id} ends at {s.CancelAt}, its period at {s.PeriodEnd}.";
                if (kept.Charged is { } charged && (charged.Amount < 0 || charged.Start < s.PeriodStart || charged.Start > charged.End || charged.End != s.PeriodEnd))
                    return $"The subscription {s.Id} was charged {charged.Amount} from {charged.Start} to {charged.End}, its period is from {s.PeriodStart} to {s.PeriodEnd}.";
            }
        foreach (var credit in state.Billing.Credits)
            if (credit.Amount <= 0) return $"A credit balance of {credit.Amount} {credit.Currency} is kept, which is none.";
        foreach (var invoice in state.Billing.Invoices)
        {
            if (invoice.AmountDue != invoice.Total - invoice.Credit || invoice.AmountDue < 0)
                return $"Invoice {invoice.Id}: due {invoice.AmountDue} is not total {invoice.Total} - credit {invoice.Credit}.";
            if (invoice.Status is not (InvoiceStatus.Draft or InvoiceStatus.Void) && invoice.Number is null) return $"Invoice {invoice.Id} is {invoice.Status} and has no number.";
        }
        return null;
    }
}
