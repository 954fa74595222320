using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;
using NodaTime;
using NodaTime.Text;

namespace Billing.Api.Pages;

/// <summary>One invoice as a page that prints on A4. It runs nothing and loads nothing but the seller's logo.</summary>
public static class InvoicePage
{
    private const string Style = """
        :root { --ink: #16181d; --soft: #646b78; --line: #e3e6ea; }
        * { box-sizing: border-box; margin: 0; }
        body { font: 14px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Noto Sans", sans-serif; color: var(--ink); background: #f3f4f6; }
        main { max-width: 794px; margin: 32px auto; padding: 64px 64px 48px; background: #fff; border: 1px solid var(--line); border-radius: 6px; }
        header { display: flex; justify-content: space-between; align-items: flex-start; gap: 32px; }
        header img { display: block; max-width: 240px; max-height: 64px; }
        .seller { font-size: 20px; font-weight: 600; letter-spacing: -.01em; }
        h1 { font-size: 28px; line-height: 1.1; font-weight: 600; letter-spacing: -.02em; text-align: right; }
        .number { color: var(--soft); text-align: right; overflow-wrap: anywhere; }
        .facts { display: grid; grid-template-columns: 1.1fr 1fr auto; gap: 28px; margin: 48px 0 40px; }
        h2 { font-size: 12px; font-weight: 500; color: var(--soft); margin-bottom: 4px; }
        .facts p { overflow-wrap: anywhere; }
        .facts p:first-of-type { font-weight: 600; }
        dl { display: grid; grid-template-columns: auto auto; gap: 2px 20px; align-content: start; padding-top: 22px; }
        dt { color: var(--soft); }
        dd { text-align: right; white-space: nowrap; }
        .due { font-size: 20px; font-weight: 600; letter-spacing: -.01em; margin-bottom: 24px; }
        table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
        th { font-size: 12px; font-weight: 500; color: var(--soft); text-align: left; padding: 0 0 8px; border-bottom: 1px solid var(--ink); }
        td { padding: 12px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
        th + th, td + td { text-align: right; padding-left: 24px; white-space: nowrap; }
        tr { break-inside: avoid; }
        small { display: block; font-size: 12px; color: var(--soft); }
        .sums { width: 50%; margin: 16px 0 0 auto; break-inside: avoid; }
        .sums td { border: 0; padding: 4px 0; }
        .sums .total td { border-top: 1px solid var(--ink); padding-top: 10px; font-weight: 600; }
        .sums .soft td { color: var(--soft); }
        footer { margin-top: 56px; padding-top: 16px; border-top: 1px solid var(--line); font-size: 12px; color: var(--soft); }
        @media (max-width: 640px) {
          main { margin: 0; padding: 24px 20px; border: 0; border-radius: 0; }
          .facts { grid-template-columns: 1fr; gap: 20px; margin: 28px 0; }
          dl { padding-top: 0; justify-content: start; }
          dd { text-align: left; }
          .sums { width: 100%; }
          td:nth-child(3), th:nth-child(3) { display: none; }
        }
        @media print {
          @page { size: A4; margin: 18mm; }
          body { background: none; font-size: 10.5pt; }
          main { max-width: none; margin: 0; padding: 0; border: 0; border-radius: 0; }
          footer { break-inside: avoid; }
        }
        """;

    /// <summary>What the page may do: have this style and show an image.</summary>
    public static string ContentSecurityPolicy { get; } =
        $"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(SHA256.HashData(Encoding.UTF8.GetBytes($"\n{Style}\n")))}'; img-src https: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

    private static readonly LocalDatePattern Day = LocalDatePattern.CreateWithInvariantCulture("d MMMM uuuu");
    private static readonly LocalDatePattern DayOfMonth = LocalDatePattern.CreateWithInvariantCulture("d MMMM");
    private static readonly LocalDatePattern DayAlone = LocalDatePattern.CreateWithInvariantCulture("%d");

    /// <param name="zone">The organization's own: its calendar months begin there.</param>
    public static string Of(InvoiceView invoice, string organization, DateTimeZone zone, Seller seller, Profile? profile)
    {
        var title = invoice.Number is { } number ? $"Invoice {number}" : "Draft of an invoice";
        Html page = $"""
            <!doctype html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{title}</title>
            <style>
            {Raw(Style)}
            </style>
            </head>
            <body>
            <main>
            <header>
            <div class="seller">{Brand(seller)}</div>
            <div><h1>{(invoice.Number is null ? "Draft" : "Invoice")}</h1><p class="number">{invoice.Number}</p></div>
            </header>
            <section class="facts">
            {From(seller)}
            <div><h2>Bill to</h2>{BillTo(profile, organization)}</div>
            <dl>{Facts(invoice, organization)}</dl>
            </section>
            <p class="due">{Due(invoice)}</p>
            <table>
            <thead><tr><th>Description</th><th>Quantity</th><th>Unit price</th><th>Amount</th></tr></thead>
            <tbody>{invoice.Lines!.Select(l => Line(l, zone))}</tbody>
            </table>
            <table class="sums"><tbody>{Sums(invoice)}</tbody></table>
            {Footer(seller)}
            </main>
            </body>
            </html>

            """;
        return page.ToString();
    }

    private static Html Brand(Seller seller) => seller.Logo is { } logo ? $"<img src=\"{logo}\" alt=\"{seller.Name ?? "Logo"}\">" : (Html)$"{seller.Name}";

    private static Html From(Seller seller)
    {
        string?[] lines = [seller.Name, .. seller.Address, seller.Email, seller.TaxId];
        return lines.All(l => l is null) ? $"<div></div>" : (Html)$"<div><h2>From</h2>{Paragraphs(lines)}</div>";
    }

    private static Html BillTo(Profile? profile, string organization) =>
        (Html)$"{Paragraphs([profile?.Name ?? organization, .. profile?.Address?.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? [], profile?.Email])}";

    private static IEnumerable<Html> Paragraphs(IEnumerable<string?> lines) => lines.Where(l => !string.IsNullOrWhiteSpace(l)).Select(l => (Html)$"<p>{l}</p>");

    private static IEnumerable<Html> Facts(InvoiceView invoice, string organization)
    {
        if (invoice.FinalizedAt is { } issued) yield return $"<dt>Issued</dt><dd>{On(issued)}</dd>";
        if (invoice.DueAt is { } due) yield return $"<dt>Due</dt><dd>{On(due)}</dd>";
        yield return $"<dt>Status</dt><dd>{Status(invoice)}</dd>";
        yield return $"<dt>Account</dt><dd>{organization}</dd>";
    }

    private static string Status(InvoiceView invoice) => invoice.Status switch
    {
        "draft" => "Draft",
        "paid" => "Paid",
        "void" => "Void",
        _ => "Open",
    };

    private static string Due(InvoiceView invoice) => invoice.Status switch
    {
        "draft" => $"{Text(invoice.AmountDue)}, not issued yet",
        "paid" when invoice.Total.Amount < 0 => $"{Text(new Money(-invoice.Total.Amount, invoice.Total.Currency))} credited on {On(invoice.SettledAt!.Value)}",
        "paid" => $"{Text(invoice.AmountDue)} paid on {On(invoice.SettledAt!.Value)}",
        "void" => "Void: nothing is due",
        _ => $"{Text(invoice.AmountDue)} due by {On(invoice.DueAt!.Value)}",
    };

    private static Html Line(InvoiceLineView line, DateTimeZone zone)
    {
        var currency = line.Amount.Currency;
        var tiers = line.Tiers?.Select(t => (Html)$"<small>{Number(t.Quantity)} at {Price(t.UnitPrice, currency)}</small>") ?? [];
        return $"""
            <tr><td>{line.Description}<small>{Period(line.Period, zone)}</small>{tiers}</td><td>{(line is { Quantity: 1, UnitPrice: null } ? "" : Number(line.Quantity))}</td><td>{(line.UnitPrice is { } price ? Price(price, currency) : "")}</td><td>{Text(line.Amount)}</td></tr>

            """;
    }

    private static IEnumerable<Html> Sums(InvoiceView invoice)
    {
        var (discount, tax, currency) = (invoice.Discount!.Value, invoice.Tax!.Value, invoice.Total.Currency);
        yield return $"<tr><td>Subtotal</td><td>{Text(invoice.Subtotal!.Value)}</td></tr>";
        if (discount.Amount != 0) yield return $"<tr><td>Discount{(invoice.DiscountTerms?.Percent is { } percent ? $" {Number(percent)} %" : "")}</td><td>{Text(discount with { Amount = -discount.Amount })}</td></tr>";
        if (invoice.TaxTerms is { Inclusive: false } exclusive) yield return $"<tr><td>{exclusive.Name} {Number(exclusive.Rate)} %</td><td>{Text(tax)}</td></tr>";
        yield return $"<tr class=\"total\"><td>Total {currency.ToUpperInvariant()}</td><td>{Text(invoice.Total)}</td></tr>";
        if (invoice.TaxTerms is { Inclusive: true } inclusive) yield return $"<tr class=\"soft\"><td>Includes {inclusive.Name} {Number(inclusive.Rate)} %</td><td>{Text(tax)}</td></tr>";
        if (invoice.Credit.Amount != 0)
        {
            yield return $"<tr><td>{(invoice.Credit.Amount > 0 ? "Credit used" : "To your credit balance")}</td><td>{Text(new Money(-invoice.Credit.Amount, currency))}</td></tr>";
            yield return $"<tr class=\"total\"><td>Amount due</td><td>{Text(invoice.AmountDue)}</td></tr>";
        }
    }

    private static Html Footer(Seller seller) => seller.Footer.Count == 0 ? Html.Nothing : (Html)$"<footer>{Paragraphs(seller.Footer)}</footer>";

    // ---- numbers and dates for people

    /// <summary>$1,234.50, ¥1,235, CHF 12.00; below zero with a minus before it.</summary>
    internal static string Text(Money money)
    {
        var minor = Pricing.MinorUnits(money.Currency);
        var amount = (Math.Abs((decimal)money.Amount) / minor).ToString(minor switch { 1 => "#,##0", 1000 => "#,##0.000", _ => "#,##0.00" }, CultureInfo.InvariantCulture);
        return $"{(money.Amount < 0 ? "−" : "")}{Symbol(money.Currency)}{amount}";
    }

    private static string Price(string unitPrice, string currency)
    {
        var price = decimal.Parse(unitPrice, CultureInfo.InvariantCulture);
        return Symbol(currency) + price.ToString(Pricing.MinorUnits(currency) switch { 1 => "#,##0.############", 1000 => "#,##0.000#########", _ => "#,##0.00##########" }, CultureInfo.InvariantCulture);
    }

    private static string Number(decimal quantity) => quantity.ToString("#,##0.#########", CultureInfo.InvariantCulture).Replace('-', '−');

    private static string Symbol(string currency) => currency switch
    {
        "usd" => "$",
        "eur" => "€",
        "gbp" => "£",
        "jpy" => "¥",
        // A space that does not break.
        _ => $"{currency.ToUpperInvariant()}\u00a0",
    };

    /// <summary>In UTC, as the month in the number is.</summary>
    private static string On(Instant at) => Day.Format(at.InUtc().Date);

    /// <summary>The days of it. Calendar months begin at the organization's midnight, paid periods at any instant of UTC.</summary>
    private static string Period(PeriodView period, DateTimeZone zone)
    {
        if (period.Start.InZone(zone).TimeOfDay != LocalTime.Midnight) zone = DateTimeZone.Utc;
        var first = period.Start.InZone(zone).Date;
        var last = period.End > period.Start ? (period.End - Duration.Epsilon).InZone(zone).Date : first;
        if (first == last) return Day.Format(first);
        var from = first.Year != last.Year ? Day : first.Month != last.Month ? DayOfMonth : DayAlone;
        return $"{from.Format(first)} – {Day.Format(last)}";
    }

    /// <summary>Of this file's own making.</summary>
    private static Html Raw(string markup)
    {
        var html = new Html(markup.Length, 0);
        html.AppendLiteral(markup);
        return html;
    }
}
