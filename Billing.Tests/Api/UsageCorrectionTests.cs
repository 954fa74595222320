using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Voids, corrections and late use over HTTP: what is answered, and what lists and sums say after them.</summary>
public sealed class UsageCorrectionTests
{
    private const string Organization = "/v1/organizations/acme";

    private static async Task<TestApi> Start(string at = "2026-11-20T10:00:00Z")
    {
        var api = await TestApi.Start(Ledger.CorrectionTests.Catalog, at);
        await api.Open("acme");
        return api;
    }

    [Fact]
    public async Task a_voided_record_is_shown_as_such_and_is_in_no_sum()
    {
        await using var api = await Start();
        (await api.Use("acme", "jobs", 4)).Expect(201);
        (await api.Use("acme", "jobs", 9)).Expect(201);

        var voided = (await api.Post($"{Organization}/usage/ur_2/void", new { reason = "Counted twice" }, "void-1")).Expect(200);
        Assert.Equal(("ur_2", 4m, 3m, "Counted twice", 9m), (voided.String("id"), voided.Number("quantity"), voided.Number("shifted"), voided.String("reason"), voided.Number("entitlement.used")));
        Assert.Empty(voided["adjustments"]!.AsArray());

        var records = await api.List($"{Organization}/usage/records?feature=jobs");
        Assert.Equal([true, false], records.Select(r => (bool?)r["voided"] ?? false));
        var history = (await api.Get($"{Organization}/usage/history?feature=jobs&from=2026-11-20T00:00:00Z&to=2026-11-21T00:00:00Z")).Expect(200);
        Assert.Equal((9m, 1m), (history.Number("buckets.0.quantity"), history.Number("buckets.0.records")));
        var current = (await api.Get($"{Organization}/usage/current")).Expect(200)["usage"]!.AsArray().Single(u => (string)u!["feature"]! == "jobs")!;
        Assert.Equal((9m, 0m, 0m), ((decimal)current["quantity"]!, (decimal)current["covered"]!["overage"]!, (decimal)current["charge"]!["amount"]!));

        // The same key again answers the same; another one is told that it is done.
        var again = (await api.Post($"{Organization}/usage/ur_2/void", new { reason = "Counted twice" }, "void-1")).Expect(200);
        Assert.Equal((voided.Number("version"), "true"), (again.Number("version"), again.Headers["Idempotency-Replayed"]));
        (await api.Post($"{Organization}/usage/ur_2/void")).ExpectProblem(409, "usage_already_voided", "'ur_2' was taken back already");
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task a_correction_answers_the_new_record_which_names_the_one_it_replaces()
    {
        await using var api = await Start();
        (await api.Use("acme", "requests", 4, metadata: new { model = "m" })).Expect(201);
        api.Clock.Advance(Duration.FromHours(1));

        var corrected = (await api.Post($"{Organization}/usage/ur_2/correct", new { quantity = 2 })).Expect(201);
        Assert.Equal(("ur_2", "2026-11-20T10:00:00Z", "m"), (corrected.String("corrects"), corrected.String("timestamp"), corrected.String("metadata.model")));
        Assert.Equal(3, corrected.Number("entitlement.remaining"));
        (await api.Post($"{Organization}/usage/ur_2/correct", new { quantity = 1 })).ExpectProblem(409, "usage_already_voided", "was taken back already");
        var id = corrected.String("id");
        (await api.Post($"{Organization}/usage/{id}/correct", new { quantity = 6 })).ExpectProblem(402, "quota_exceeded", "and 3 of 5");
        // It is 2 already.
        Assert.Equal(id, (await api.Post($"{Organization}/usage/{id}/correct", new { quantity = 2 })).Expect(200).String("id"));
        Assert.Equal(2, (await api.Check("acme", "requests")).Number("used"));
    }

    [Fact]
    public async Task tokens_of_a_voided_record_come_back_and_are_in_the_tokens_history()
    {
        await using var api = await Start();
        await api.Grant("acme", 10);
        (await api.Use("acme", "words", 7)).Expect(201);

        var voided = (await api.Post($"{Organization}/usage/ur_3/void")).Expect(200);
        Assert.Equal(("tg_2", 8m, 0m, 0m), (voided.String("returned.0.grant"), voided.Number("returned.0.remaining"), voided.Number("returned.0.expired"), voided.Number("returned.0.revoked")));
        var transactions = await api.List($"{Organization}/tokens/transactions");
        Assert.Equal(["granted 10", "burned -8", "returned 8"], transactions.Select(t => $"{t["kind"]} {t["tokens"]}"));
        Assert.Equal(10, (await api.Get($"{Organization}/tokens")).Number("balance"));
    }

    [Fact]
    public async Task in_a_closed_billing_period_adjustments_go_onto_the_next_invoice_and_name_the_records()
    {
        await using var api = await Start();
        (await api.Use("acme", "jobs", 14)).Expect(201);
        api.Clock.Now = TestApi.Time("2026-12-03T00:00:00Z");
        await api.RunDueWork();

        var late = (await api.Post($"{Organization}/usage", new { feature = "jobs", quantity = 3, timestamp = "2026-11-28T00:00:00Z" })).Expect(201);
        Assert.Equal((150m, "adjustment", "3 jobs of 2026-11-01 to 2026-12-01, reported late"),
            (late.Number("adjustments.0.amount.amount"), late.String("adjustments.0.kind"), late.String("adjustments.0.description")));
        Assert.Equal(0, late.Number("entitlement.used"));
        var corrected = (await api.Post($"{Organization}/usage/ur_2/correct", new { quantity = 12 })).Expect(201);
        Assert.Equal(-100, corrected.Number("adjustments.0.amount.amount"));
        var voided = (await api.Post($"{Organization}/usage/{late.String("id")}/void")).Expect(200);
        Assert.Equal(-150, voided.Number("adjustments.0.amount.amount"));

        var upcoming = (await api.Get($"{Organization}/invoices/upcoming")).Expect(200);
        Assert.Equal(["150", "-100", "-150"], upcoming.At("invoices.0.lines")!.AsArray().Select(l => l!["amount"]!["amount"]!.ToString()));
        Assert.Equal([late.String("id")], upcoming.At("invoices.0.lines.0.records")!.AsArray().Select(r => (string?)r));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task late_use_is_in_the_history_of_when_it_happened()
    {
        await using var api = await Start();
        api.Clock.Now = TestApi.Time("2026-11-24T12:00:00Z");
        (await api.Post($"{Organization}/usage", new { feature = "requests", quantity = 2, timestamp = "2026-11-22T09:00:00Z" })).Expect(201);

        var history = (await api.Get($"{Organization}/usage/history?feature=requests&from=2026-11-20T00:00:00Z")).Expect(200);
        Assert.Equal(["2026-11-22T00:00:00Z 2"], history["buckets"]!.AsArray().Where(b => (decimal)b!["quantity"]! > 0).Select(b => $"{b!["start"]} {b["quantity"]}"));
        (await api.Post($"{Organization}/usage", new { feature = "requests", quantity = 4, timestamp = "2026-11-22T09:00:00Z" }))
            .ExpectProblem(402, "quota_exceeded", "3 of 5 were left from 2026-11-22 00:00 UTC to 2026-11-23 00:00 UTC");
    }

    [Fact]
    public async Task a_voided_gauge_change_is_worked_out_from_the_gauges_history()
    {
        await using var api = await Start();
        (await api.Use("acme", "storage", 60)).Expect(201);
        var wrong = (await api.Use("acme", "storage", 1_000)).Expect(201);
        api.Clock.Now = TestApi.Time("2026-12-03T00:00:00Z");

        // Nothing was written since: what is due comes with it.
        var voided = (await api.Post($"{Organization}/usage/{wrong.String("id")}/void", new { reason = "wrong unit" })).Expect(200);
        Assert.Equal((-10_000m, 60m), (voided.Number("adjustments.0.amount.amount"), voided.Number("entitlement.used")));
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task records_that_do_not_exist_and_bodies_that_are_wrong_are_named()
    {
        await using var api = await Start();
        (await api.Use("acme", "jobs")).Expect(201);
        foreach (var id in (string[])["ur_1", "ur_3", "ur_02", "tg_2", "ur_", "ur_99999999999999999999"])
        {
            (await api.Post($"{Organization}/usage/{id}/void")).ExpectProblem(404, "usage_record_unknown", $"There is no usage record '{id}'.");
            (await api.Post($"{Organization}/usage/{id}/correct", new { quantity = 2 })).ExpectProblem(404, "usage_record_unknown", $"There is no usage record '{id}'.");
        }
        (await api.Post("/v1/organizations/nobody/usage/ur_2/void")).ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
        (await api.Post($"{Organization}/usage/ur_2/correct")).ExpectProblem(400, "missing_field", "Say how much it should have been.", "quantity");
        (await api.Post($"{Organization}/usage/ur_2/correct", new { quantity = -1 })).ExpectProblem(400, "quantity_not_positive", "A quantity is more than 0.", "quantity");
        (await api.Post($"{Organization}/usage/ur_2/correct", new { quantity = 1.5 })).ExpectProblem(400, "quantity_too_precise", "'job' is counted in whole numbers", "quantity");
        (await api.Post($"{Organization}/usage/ur_2/void", new { reason = new string('x', 501) })).ExpectProblem(400, "invalid_field", "A reason has at most 500 characters.", "reason");
        (await api.Send(HttpMethod.Post, $"{Organization}/usage/ur_2/void")).ExpectProblem(400, "idempotency_key_missing", "Send an Idempotency-Key");
        var own = await api.ClientOf("acme");
        (await api.Post($"{Organization}/usage/ur_2/void", by: own)).ExpectProblem(403, "operator_only", "operator");
        Assert.Equal(2, (await api.Get(Organization)).Number("version"));

        (await api.Send(HttpMethod.Delete, Organization)).Expect(200);
        (await api.Post($"{Organization}/usage/ur_2/void")).ExpectProblem(410, "organization_closed", "is closed");
        (await api.Post($"{Organization}/usage/ur_1/void")).ExpectProblem(410, "organization_closed", "is closed");
    }
}
