using NodaTime;

namespace Billing.Ledger;

/// <summary>What is billed: closing periods, making invoices, and what becomes of them.</summary>
public static class Invoices
{
    public static Decision Decide(State state, Catalogs catalogs, CreateInvoice c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, FinalizeInvoice c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, SettleInvoice c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, AddLine c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, Catalogs catalogs, GrantCredit c, Instant now) => throw new NotSupportedException();

    public static Decision Decide(State state, SetBillingTerms c, Instant now) => throw new NotSupportedException();

    /// <summary>The overage so far as lines, when it is to be billed at this instant; null when there is none.</summary>
    internal static LinesAdded? BillUsageAt(State state, Catalogs catalogs, Instant at, Instant now) => null;

    /// <summary>An invoice of everything that is pending, finalized; nothing when nothing is pending.</summary>
    internal static IReadOnlyList<LedgerEvent> Issue(State state, Catalogs catalogs, Instant at, Instant now, bool final = false) => [];

    public static State Evolve(State state, LinesAdded e) => throw new NotSupportedException();

    public static State Evolve(State state, InvoiceCreated e) => throw new NotSupportedException();

    public static State Evolve(State state, InvoiceFinalized e) => throw new NotSupportedException();

    public static State Evolve(State state, InvoiceSettled e) => throw new NotSupportedException();

    public static State Evolve(State state, CreditGranted e) => throw new NotSupportedException();

    public static State Evolve(State state, BillingTermsSet e) => throw new NotSupportedException();
}
