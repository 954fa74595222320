using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace Billing.StripeSandbox;

/// <summary>An invoice as its customer sees it, and pays it while it is open.</summary>
internal static class HostedInvoicePage
{
    public static void Map(WebApplication app, Sandbox s, SandboxServer server)
    {
        Pages.Show(app, s, "/i/{id}", (http, id) => Show(http, s, id, null, null));
        Pages.Take(app, "/i/{id}", (http, id) => Pay(http, s, server, id));
        Pages.Show(app, s, "/i/{id}/pdf", (http, id) => s.Store.Find(id) is { } invoice && invoice.Text("invoice_pdf") is not null
            ? Results.Bytes(Pdf(invoice), "application/pdf", $"{invoice.Text("number")}.pdf") : Pages.NotFound(http, "There is no such invoice"));
        Pages.Show(app, s, "/receipts/{id}", (http, id) => s.Store.Find(id) is not { } charge || !charge.Flag("paid") ? Pages.NotFound(http, "There is no such receipt")
            : Pages.Answer(http, "Receipt", $"<h1>Receipt</h1><p class=\"amount\">{Money.Of(charge.Number("amount")!.Value, charge.Text("currency"))}</p><p class=\"soft\">Paid on {Money.Day(charge.Number("created")!.Value)}</p>", isNarrow: true));
    }

    private static async Task<IResult> Pay(HttpContext http, Sandbox s, SandboxServer server, string id)
    {
        var form = await http.Request.ReadFormAsync();
        string? error = null;
        server.Do(_ =>
        {
            if (s.Store.Find(id) is not { } invoice || invoice.Text("status") != "open") return;
            try
            {
                Invoices.Pay(s, invoice, offSession: false, Pages.MethodOf(s, form, invoice.Text("customer_email")));
                error = Invoices.IntentOf(s, invoice).Text("last_payment_error.message");
            }
            catch (StripeError refused)
            {
                error = refused.Message;
            }
        });
        lock (s.Gate)
        {
            if (s.Store.Find(id) is { } invoice && Invoices.IntentOf(s, invoice) is { } intent && intent.Text("status") == "requires_action") return Pages.Redirect($"/authenticate/{intent.Text("id")}");
            return error is null ? Pages.Redirect($"/i/{id}") : Show(http, s, id, form, error, 402);
        }
    }

    private static IResult Show(HttpContext http, Sandbox s, string id, IFormCollection? sent, string? error, int status = 200)
    {
        if (s.Store.Find(id) is not { } invoice || invoice.Text("hosted_invoice_url") is null) return Pages.NotFound(http, "There is no such invoice");
        var currency = invoice.Text("currency");
        var lines = invoice.Each("lines").Select(l => (Html)$"<li><span>{l.Text("description")}<small>{Money.Day(l.Number("period.start")!.Value)} – {Money.Day(l.Number("period.end")!.Value)}</small></span><span class=\"money\">{Money.Of(l.Number("amount")!.Value, currency)}</span></li>");
        Html payment = invoice.Text("status") == "open" ? (Html)$"""
            <section class="panel" aria-label="Payment">{Pages.Error(error)}
            <form method="post" action="/i/{id}">{Pages.MethodFields(sent, currency, error)}<button type="submit">Pay {Money.Of(invoice.Number("amount_due")!.Value, currency)}</button></form>{Pages.TestCardHelp()}</section>
            """ : (Html)$"<section class=\"panel\" aria-label=\"Payment\"><h2>This invoice is {invoice.Text("status")}</h2><p><a href=\"/i/{id}/pdf\">Download the invoice</a></p></section>";
        return Pages.Answer(http, $"Invoice {invoice.Text("number")}", $"""
            <div class="two">
            <section aria-label="Invoice"><h1>Invoice {invoice.Text("number")}</h1><p class="amount">{Money.Of(invoice.Number("amount_due")!.Value, currency)}</p>
            <ul class="lines">{lines}<li class="sum"><span>Total</span><span class="money">{Money.Of(invoice.Number("total")!.Value, currency)}</span></li></ul></section>
            {payment}
            </div>
            """, status);
    }

    /// <summary>One page with one column of text: what a download has to be, and no more.</summary>
    private static byte[] Pdf(JsonObject invoice)
    {
        var currency = invoice.Text("currency");
        string[] lines =
        [
            $"Invoice {invoice.Text("number")}", $"Status: {invoice.Text("status")}", "",
            .. invoice.Each("lines").Select(l => $"{l.Text("description")}   {l.Number("amount") / 100m:N2}"), "", $"Total {currency?.ToUpperInvariant()} {invoice.Number("total") / 100m:N2}",
        ];
        var text = string.Join("\n", lines.Select(l => $"({new string([.. l.Replace('×', 'x').Where(c => c is >= ' ' and <= '~' and not ('(' or ')' or '\\'))])}) Tj T*"));
        var stream = $"BT /F1 11 Tf 56 780 Td 16 TL\n{text}\nET";
        string[] objects =
        [
            "<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
            $"<< /Length {stream.Length} >>\nstream\n{stream}\nendstream", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ];
        var pdf = new StringBuilder("%PDF-1.4\n");
        var offsets = new List<int>();
        foreach (var (place, o) in objects.Index())
        {
            offsets.Add(pdf.Length);
            pdf.Append($"{place + 1} 0 obj\n{o}\nendobj\n");
        }
        var table = pdf.Length;
        pdf.Append($"xref\n0 {objects.Length + 1}\n0000000000 65535 f \n");
        foreach (var offset in offsets) pdf.Append($"{offset:D10} 00000 n \n");
        pdf.Append($"trailer << /Size {objects.Length + 1} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n");
        return Encoding.ASCII.GetBytes(pdf.ToString());
    }
}
