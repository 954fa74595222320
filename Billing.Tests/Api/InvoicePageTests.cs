using System.Security.Cryptography;
using System.Text;
using Billing.Api.Pages;
using Billing.Ledger;
using Billing.Silo;
using Microsoft.Extensions.Configuration;

namespace Billing.Tests.Api;

/// <summary>Who invoices are from and to, and the page that they are printed on.</summary>
public sealed class InvoicePageTests
{
    private const string Acme = "/v1/organizations/acme";

    private static async Task<TestApi> Start(params string[] args)
    {
        var api = await TestApi.Start("quantum", at: "2026-11-20T10:00:00Z", args: args);
        await api.Open("acme");
        return api;
    }

    private static async Task Invoice(TestApi api, long amount = 10_000, string description = "Setup")
    {
        (await api.Post($"{Acme}/invoices/lines", new { description, amount })).Expect(201);
        (await api.Post($"{Acme}/invoices/generate")).Expect(201);
    }

    // ---- the profile

    [Fact]
    public async Task a_profile_is_set_read_and_erased_and_stands_in_no_event()
    {
        await using var api = await Start();
        Assert.Null((await api.Get($"{Acme}/profile")).Expect(200)["name"]);
        var set = (await api.Put($"{Acme}/profile", new { name = " Acme GmbH ", email = "billing@acme.example", address = "Hauptstraße 1\n10115 Berlin" })).Expect(200);
        Assert.Equal(("Acme GmbH", "billing@acme.example", "Hauptstraße 1\n10115 Berlin", "2026-11-20T10:00:00Z"),
            (set.String("name"), set.String("email"), set.String("address"), set.String("updated_at")));
        Assert.Equal(set.Text, (await api.Get($"{Acme}/profile")).Text);
        await Invoice(api);

        // What is left out is gone.
        Assert.Null((await api.Put($"{Acme}/profile", new { name = "Acme GmbH" })).Expect(200)["email"]);
        (await api.Send(HttpMethod.Delete, $"{Acme}/profile")).Expect(204);
        Assert.Null((await api.Get($"{Acme}/profile")).Expect(200)["name"]);
        (await api.Send(HttpMethod.Delete, $"{Acme}/profile")).Expect(204);
        Assert.DoesNotContain(await api.List($"{Acme}/ledger"), e => e.ToJsonString().Contains("GmbH", StringComparison.Ordinal) || e.ToJsonString().Contains("Berlin", StringComparison.Ordinal));
        (await api.Get("/v1/organizations/nobody/profile")).Expect(404);
    }

    // ---- the page

    [Fact]
    public async Task the_page_says_who_what_and_how_much()
    {
        await using var api = await Start("--Billing:Seller:Name=Quantum Ltd", "--Billing:Seller:Address=1 Cold Lane|Cambridge", "--Billing:Seller:TaxId=GB 123", "--Billing:Seller:Footer=Pay by wire.");
        await api.Open("beta", "professional");
        (await api.Put($"{Acme}/profile", new { name = "Acme GmbH", address = "Hauptstraße 1\n10115 Berlin" })).Expect(200);
        await Invoice(api, 123_456);

        var page = (await api.Get($"{Acme}/invoices/INV-2026-11-acme/print")).Expect(200);
        Assert.Equal("text/html; charset=utf-8", page.Headers["Content-Type"]);
        // The policy allows just this style, and nothing that runs.
        var style = SHA256.HashData(Encoding.UTF8.GetBytes(page.Text.Split("<style>")[1].Split("</style>")[0]));
        Assert.StartsWith($"default-src 'none'; style-src 'sha256-{Convert.ToBase64String(style)}';", page.Headers["Content-Security-Policy"], StringComparison.Ordinal);
        Assert.Equal("nosniff", page.Headers["X-Content-Type-Options"]);
        Assert.Contains("no-store", page.Headers["Cache-Control"], StringComparison.Ordinal);
        foreach (var text in (string[])
            [
                "<title>Invoice INV-2026-11-acme</title>", "<p>Quantum Ltd</p><p>1 Cold Lane</p><p>Cambridge</p><p>GB 123</p>", "<p>Acme GmbH</p><p>Hauptstra&#223;e 1</p><p>10115 Berlin</p>",
                "<dt>Issued</dt><dd>20 November 2026</dd><dt>Due</dt><dd>5 December 2026</dd>", "$1,333.32 due by 5 December 2026", "<td>Setup<small>20 November 2026</small></td>",
                "<td>Subtotal</td><td>$1,234.56</td>", "<td>Sales tax 8 %</td><td>$98.76</td>", "<td>Total USD</td><td>$1,333.32</td>", "<footer><p>Pay by wire.</p></footer>",
            ])
            Assert.Contains(text, page.Text, StringComparison.Ordinal);

        (await api.Post($"{Acme}/invoices/INV-2026-11-acme/pay")).Expect(200);
        Assert.Contains("$1,333.32 paid on 20 November 2026", (await api.Get($"{Acme}/invoices/INV-2026-11-acme/print")).Text, StringComparison.Ordinal);
        (await api.Get("/v1/organizations/beta/invoices/INV-2026-11-acme/print")).ExpectProblem(404, "invoice_unknown", "There is no invoice");
    }

    [Fact]
    public async Task no_text_becomes_markup_on_the_page()
    {
        const string Script = "<script>alert(1)</script>\"'&";
        await using var api = await Start($"--Billing:Seller:Name={Script}", $"--Billing:Seller:Address={Script}", $"--Billing:Seller:Footer={Script}", "--Billing:Seller:Logo=https://example.com/\"onerror=\"alert(1)");
        (await api.Put($"{Acme}/profile", new { name = Script, address = Script, email = "\"<b>\"@example.com" })).Expect(200);
        (await api.Put($"{Acme}/billing-terms", new { tax = new { name = Script, rate = 5 } })).Expect(200);
        await Invoice(api, 100, Script);
        var page = (await api.Get($"{Acme}/invoices/INV-2026-11-acme/print")).Expect(200).Text;

        Assert.DoesNotContain("<script", page, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("<b>", page, StringComparison.Ordinal);
        Assert.DoesNotContain("\"onerror", page, StringComparison.Ordinal);
        // The logo's text, two lines of the seller, two of the customer, the line, the tax and the footer.
        Assert.Equal(8, Count(page, "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;"));

        static int Count(string text, string part) => text.Split(part).Length - 1;
    }

    [Theory]
    [InlineData("usd", "$1,234.50")]
    [InlineData("eur", "€1,234.50")]
    [InlineData("jpy", "¥123,450")]
    [InlineData("kwd", "KWD\u00a0123.450")]
    [InlineData("chf", "CHF\u00a01,234.50")]
    public void amounts_are_written_as_their_currency_is(string currency, string text)
    {
        Assert.Equal(text, InvoicePage.Text(new Money(123_450, currency)));
        Assert.Equal($"−{text}", InvoicePage.Text(new Money(-123_450, currency)));
    }

    [Fact]
    public void a_logo_from_a_file_is_in_the_page_and_one_that_is_none_stops_the_start()
    {
        var file = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.svg");
        File.WriteAllText(file, "<svg xmlns='http://www.w3.org/2000/svg'/>");
        try
        {
            Assert.Equal("data:image/svg+xml;base64,PHN2ZyB4bWxucz0naHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmcnLz4=", Read(file).Logo);
            Assert.Equal("https://example.com/logo.png", Read("https://example.com/logo.png").Logo);
            Assert.Contains("https: address, or the path of an image", Assert.Throws<SettingsException>(() => Read("nowhere.png")).Message, StringComparison.Ordinal);
            Assert.Throws<SettingsException>(() => Read("http://example.com/logo.png"));
            File.WriteAllBytes(file, new byte[Seller.MaxLogoBytes + 1]);
            Assert.Contains("at most", Assert.Throws<SettingsException>(() => Read(file)).Message, StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }

        static Seller Read(string logo) => Seller.Read(
            new ConfigurationManager { ["Billing:Seller:Logo"] = logo });
    }
}
