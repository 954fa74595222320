namespace Billing.Tests.Api;

public sealed class InvoiceApiTests
{
    private const string Acme = "/v1/organizations/acme";

    private static Task<TestApi> Start() => TestApi.Start("quantum", at: "2026-11-20T10:00:00Z");

    /// <summary>An organization that has something to invoice.</summary>
    private static async Task<TestApi> WithLine(long amount = 10_000)
    {
        var api = await Start();
        await api.Open("acme");
        await Add(api, amount);
        return api;
    }

    private static async Task Add(TestApi api, long amount, string description = "Setup") =>
        (await api.Post($"{Acme}/invoices/lines", new { description, amount })).Expect(201);

    private static async Task<Answer> Generate(TestApi api, object? body = null, string? key = null) => (await api.Post($"{Acme}/invoices/generate", body, key)).Expect(201);

    private static (string?, long) Money(Answer answer, string name) => (answer.String($"{name}.currency"), (long)answer.Number($"{name}.amount"));

    [Fact]
    public async Task an_invoice_is_made_read_by_its_id_or_number_and_listed()
    {
        await using var api = await Start();
        await api.Open("acme", "professional");
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);

        var made = await Generate(api);
        Assert.Equal(("INV-2026-11-acme", "open"), (made.String("number"), made.String("status")));
        Assert.Equal((("usd", 2_250L), ("usd", 180L), ("usd", 2_430L), ("usd", 2_430L)), (Money(made, "subtotal"), Money(made, "tax"), Money(made, "total"), Money(made, "amount_due")));
        Assert.Equal(("2026-11-20T10:00:00Z", "2026-12-05T10:00:00Z"), (made.String("finalized_at"), made.String("due_at")));
        Assert.Equal(("Sales tax", 8m, false), (made.String("tax_terms.name"), made.Number("tax_terms.rate"), made.True("tax_terms.inclusive")));
        var line = made["lines"]![0]!;
        Assert.Equal(("overage", "145 quantum jobs: 45 additional", "45", "0.50", "2250"),
            ((string)line["kind"]!, (string)line["description"]!, line["quantity"]!.ToString(), (string)line["unit_price"]!, line["amount"]!["amount"]!.ToString()));

        Assert.Equal(made.Text, (await api.Get($"{Acme}/invoices/{made.String("id")}")).Expect(200).Text);
        Assert.Equal(made.Text, (await api.Get($"{Acme}/invoices/INV-2026-11-acme")).Expect(200).Text);
        var listed = Assert.Single(await api.List($"{Acme}/invoices"));
        Assert.Null(listed["lines"]);
        Assert.Equal(made.String("id"), (string?)listed["id"]);
        (await api.Get($"{Acme}/invoices/in_999")).ExpectProblem(404, "invoice_unknown", "There is no invoice 'in_999'.");
        (await api.Get("/v1/organizations/nobody/invoices/in_1")).ExpectProblem(404, "organization_unknown", "'nobody'");
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task D5_invoices_are_listed_newest_first_by_status_page_by_page()
    {
        await using var api = await Start();
        await api.Open("acme");
        for (var i = 1; i <= 5; i++)
        {
            await Add(api, 100 * i);
            await Generate(api);
        }
        (await api.Post($"{Acme}/invoices/INV-2026-11-acme-2/pay", new { payment = "wire 17" })).Expect(200);

        var newest = (await api.Get($"{Acme}/invoices?limit=2")).Expect(200);
        Assert.Equal(["INV-2026-11-acme-5", "INV-2026-11-acme-4"], newest["items"]!.AsArray().Select(i => (string)i!["number"]!));
        Assert.NotNull(newest["next_cursor"]);
        Assert.Equal(["INV-2026-11-acme-5", "INV-2026-11-acme-4", "INV-2026-11-acme-3", "INV-2026-11-acme-2", "INV-2026-11-acme"],
            (await api.List($"{Acme}/invoices?limit=2")).Select(i => (string)i["number"]!));
        Assert.Equal(["INV-2026-11-acme-2"], (await api.List($"{Acme}/invoices?status=paid")).Select(i => (string)i["number"]!));
        Assert.Equal(4, (await api.List($"{Acme}/invoices?status=open&limit=1")).Count);
        (await api.Get($"{Acme}/invoices?status=lost")).ExpectProblem(400, "invalid_parameter", "Known: draft, open, paid, void, uncollectible.", "status");
    }

    [Fact]
    public async Task a_repeat_makes_no_second_invoice_and_many_at_once_leave_no_gap_in_the_numbers()
    {
        await using var api = await WithLine();
        var made = await Generate(api, key: "once");
        var again = await Generate(api, key: "once");
        Assert.Equal(("true", made.Text), (again.Headers["Idempotency-Replayed"], again.Text));
        (await api.Post($"{Acme}/invoices/generate", new { draft = true }, "once")).ExpectProblem(409, "command_id_reused", "used before");
        (await api.Post($"{Acme}/invoices/generate")).ExpectProblem(409, "nothing_to_invoice", "There is nothing to invoice");

        // Twenty lines and invoices at once, each sent twice: every line is on one invoice, every number is there once.
        await Task.WhenAll(Enumerable.Range(0, 40).Select(async i =>
        {
            await api.Post($"{Acme}/invoices/lines", new { description = "One of many", amount = 100 + i / 2 }, $"line-{i / 2}");
            await api.Post($"{Acme}/invoices/generate", key: $"generate-{i / 2}");
        }));
        await api.Post($"{Acme}/invoices/generate");

        var invoices = await api.List($"{Acme}/invoices");
        Assert.Equal(Enumerable.Range(1, invoices.Count).Reverse().Select(n => n == 1 ? "INV-2026-11-acme" : $"INV-2026-11-acme-{n}"), invoices.Select(i => (string)i["number"]!));
        var lines = new List<long>();
        foreach (var invoice in invoices) lines.AddRange((await api.Get($"{Acme}/invoices/{invoice["id"]}"))["lines"]!.AsArray().Select(l => (long)l!["amount"]!["amount"]!));
        Assert.Equal([.. Enumerable.Range(100, 20).Select(n => (long)n), 10_000L], lines.Order());
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_draft_goes_its_way()
    {
        await using var api = await WithLine();
        var draft = await Generate(api, new { draft = true });
        Assert.Equal(("draft", null, null), (draft.String("status"), draft.String("number"), draft.String("due_at")));
        var id = draft.String("id");

        (await api.Post($"{Acme}/invoices/{id}/pay")).ExpectProblem(409, "invoice_state_conflict", $"The invoice {id} is draft. Finalize it first");
        Assert.Equal("void", (await api.Post($"{Acme}/invoices/{id}/void", new { reason = "too early" })).Expect(200).String("status"));
        Assert.Equal(10_000, (await api.Get($"{Acme}/invoices/upcoming")).Expect(200).Number("invoices.0.subtotal.amount"));

        id = (await Generate(api, new { draft = true })).String("id");
        api.Clock.Set("2026-12-02T00:00:00Z");
        var issued = (await api.Post($"{Acme}/invoices/{id}/finalize", key: "f")).Expect(200);
        Assert.Equal(("open", "INV-2026-12-acme", "2026-12-17T00:00:00Z"), (issued.String("status"), issued.String("number"), issued.String("due_at")));
        Assert.Equal("true", (await api.Post($"{Acme}/invoices/{id}/finalize", key: "f")).Expect(200).Headers["Idempotency-Replayed"]);
        (await api.Post($"{Acme}/invoices/{id}/finalize")).ExpectProblem(409, "invoice_state_conflict", "Only a draft is finalized.");

        Assert.Equal("uncollectible", (await api.Post($"{Acme}/invoices/{id}/uncollectible")).Expect(200).String("status"));
        var paid = (await api.Post($"{Acme}/invoices/{id}/pay", new { payment = "late after all" })).Expect(200);
        Assert.Equal(("paid", "2026-12-02T00:00:00Z"), (paid.String("status"), paid.String("settled_at")));
        (await api.Post($"{Acme}/invoices/{id}/void")).ExpectProblem(409, "invoice_state_conflict", "is paid. That is final");
        var settled = (await api.List($"{Acme}/ledger?type=invoice-settled"))[^1]["data"]!;
        Assert.Equal(("paid", "late after all", "key_configured"), ((string)settled["status"]!, (string)settled["payment"]!, (string)settled["by"]!));
    }

    [Fact]
    public async Task terms_and_credit_shape_the_next_invoice()
    {
        await using var api = await WithLine(10_000);
        var terms = (await api.Get($"{Acme}/billing-terms")).Expect(200);
        Assert.Equal(("catalog", 8m, null), (terms.String("tax_source"), terms.Number("tax.rate"), terms["discount"]));

        terms = (await api.Put($"{Acme}/billing-terms", new { tax = new { name = "VAT", rate = 20, inclusive = true }, discount = new { percent = 12.5 } })).Expect(200);
        Assert.Equal(("organization", "VAT", 12.5m), (terms.String("tax_source"), terms.String("tax.name"), terms.Number("discount.percent")));
        Assert.Equal(3_000, (await api.Post($"{Acme}/credits", new { amount = 3_000, reason = "outage" })).Expect(201).Number("credits.0.amount"));

        var upcoming = (await api.Get($"{Acme}/invoices/upcoming")).Expect(200);
        var invoice = await Generate(api);
        foreach (var of in (string[])["subtotal", "discount", "tax", "total", "credit", "amount_due"])
            Assert.Equal(upcoming.Number($"invoices.0.{of}.amount"), invoice.Number($"{of}.amount"));
        // 10,000 − 12.5 % = 8,750, of which 1,458.33 are tax; 3,000 of credit.
        Assert.Equal((1_250, 1_458, 8_750, 3_000, 5_750),
            (invoice.Number("discount.amount"), invoice.Number("tax.amount"), invoice.Number("total.amount"), invoice.Number("credit.amount"), invoice.Number("amount_due.amount")));
        Assert.Empty((await api.Get($"{Acme}/billing-terms"))["credits"]!.AsArray());

        terms = (await api.Put($"{Acme}/billing-terms", new { })).Expect(200);
        Assert.Equal(("catalog", null), (terms.String("tax_source"), terms["discount"]));
    }

    [Fact]
    public async Task usage_says_what_is_charged_and_what_is_on_no_invoice_yet()
    {
        await using var api = await Start();
        await api.Open("acme", "professional");
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);
        await Generate(api);
        (await api.Use("acme", "quantum_jobs", 5)).Expect(201);
        (await api.Use("acme", "storage_gb", 62.5m)).Expect(201);

        var usage = (await api.Get($"{Acme}/usage/current")).Expect(200);
        var jobs = usage["usage"]!.AsArray().Single(l => (string)l!["feature"]! == "quantum_jobs")!;
        Assert.Equal((2_500L, 250L), ((long)jobs["charge"]!["amount"]!, (long)jobs["unbilled"]!["amount"]!));
        Assert.Equal((2_625, 375), (usage.Number("charge.amount"), usage.Number("unbilled.amount")));
        var upcoming = (await api.Get($"{Acme}/invoices/upcoming")).Expect(200);
        Assert.Equal((375, "2026-12-01T00:00:00Z"), (upcoming.Number("invoices.0.subtotal.amount"), upcoming.String("billed_at")));
    }

    [Fact]
    public async Task what_is_due_is_invoiced_without_traffic_and_an_upcoming_invoice_is_read_on_time()
    {
        await using var api = await Start();
        await api.Open("acme", "professional");
        (await api.Use("acme", "quantum_jobs", 145)).Expect(201);
        api.Clock.Set("2026-12-01T00:00:05Z");

        // The period is over, whether or not it is written yet: it is not upcoming any more.
        Assert.Empty((await api.Get($"{Acme}/invoices/upcoming")).Expect(200)["invoices"]!.AsArray());
        Assert.Equal(1, await api.RunDueWork());
        var invoice = Assert.Single(await api.List($"{Acme}/invoices"));
        Assert.Equal(("INV-2026-12-acme", "2026-12-01T00:00:00Z", "open"), ((string)invoice["number"]!, (string)invoice["finalized_at"]!, (string)invoice["status"]!));
        Assert.Equal(0, await api.RunDueWork());
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task only_operators_make_and_settle_and_each_organization_reads_its_own()
    {
        await using var api = await WithLine();
        await Generate(api);
        using var own = await api.ClientOf("acme");
        await api.Open("beta");
        using var other = await api.ClientOf("beta");

        foreach (var path in (string[])["invoices", "invoices/INV-2026-11-acme", "invoices/INV-2026-11-acme/print", "invoices/upcoming", "billing-terms", "profile"])
        {
            (await api.Get($"{Acme}/{path}", own)).Expect(200);
            (await api.Get($"{Acme}/{path}", other)).ExpectProblem(404, "organization_unknown", "'acme'");
            (await api.Get($"{Acme}/{path}", api.Anonymous)).Expect(401);
        }
        foreach (var path in (string[])["invoices/generate", "invoices/lines", "invoices/INV-2026-11-acme/finalize", "invoices/INV-2026-11-acme/pay", "invoices/INV-2026-11-acme/void", "invoices/INV-2026-11-acme/uncollectible", "credits"])
            (await api.Post($"{Acme}/{path}", "{}", by: own)).ExpectProblem(403, "operator_only", "operator's key");
        (await api.Put($"{Acme}/billing-terms", "{}", by: own)).Expect(403);
    }

    [Fact]
    public async Task a_closed_organizations_invoice_is_still_settled_and_its_profile_erased()
    {
        await using var api = await WithLine();
        await Generate(api);
        (await api.Put($"{Acme}/profile", new { name = "Acme" })).Expect(200);
        (await api.Send(HttpMethod.Delete, Acme)).Expect(200);

        (await api.Post($"{Acme}/invoices/generate")).ExpectProblem(410, "organization_closed", "is closed");
        Assert.Equal("paid", (await api.Post($"{Acme}/invoices/INV-2026-11-acme/pay")).Expect(200).String("status"));
        (await api.Put($"{Acme}/profile", new { name = "Acme" })).ExpectProblem(410, "organization_closed", "is closed");
        (await api.Send(HttpMethod.Delete, $"{Acme}/profile")).Expect(204);
    }
}
