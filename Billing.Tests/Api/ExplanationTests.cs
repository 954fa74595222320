using System.Text.Json.Nodes;

namespace Billing.Tests.Api;

/// <summary>Why: a usage record, and a denial by its id, whatever happened since.</summary>
public sealed class ExplanationTests
{
    private const string Organization = "/v1/organizations/acme";
    private const string Catalog = Ledger.CorrectionTests.Catalog;

    private static async Task<TestApi> Start(string catalog = Catalog)
    {
        var api = await TestApi.Start(catalog);
        await api.Open("acme");
        return api;
    }

    private static IEnumerable<string> Steps(Answer answer) => answer["steps"]!.AsArray().Select(s => $"{s!["rule"]} {s["outcome"]}");

    private static JsonNode Step(Answer answer, string rule) => answer["steps"]!.AsArray().First(s => (string)s!["rule"]! == rule)!;

    private static string[] Events(JsonNode step) => [.. step["events"]!.AsArray().Select(e => e!.ToString())];

    /// <summary>The denial's own answer again, to the letter.</summary>
    private static async Task<Answer> Explained(TestApi api, JsonNode denial)
    {
        var answer = (await api.Get($"{Organization}/denials/{denial["id"]}")).Expect(200);
        Assert.Equal(denial.ToJsonString(), answer.At("entitlement.denial")!.ToJsonString());
        Assert.Equal("decision denied", Steps(answer).Last());
        return answer;
    }

    [Fact]
    public async Task a_denials_id_gives_the_same_answer_after_later_events_and_a_new_catalog()
    {
        var api = await Start();
        await using var first = api;
        (await api.Use("acme", "requests", 4)).Expect(201);
        var denial = (await api.Use("acme", "requests", 2)).Expect(402)["denial"]!;
        var explained = await Explained(api, denial);
        Assert.Equal(("4", "5", "1"), (Step(explained, "allowance")["numbers"]!["used"]!.ToString(), Step(explained, "allowance")["numbers"]!["limit"]!.ToString(), Step(explained, "subscription")["numbers"]!["catalog_version"]!.ToString()));
        Assert.Equal(["2"], Events(Step(explained, "allowance")));
        Assert.Equal("2026-11-20T00:00:00Z", (string?)Step(explained, "allowance")["numbers"]!["from"]);

        // At the same instant even: the id says which version it was.
        (await api.Post($"{Organization}/usage/ur_2/void")).Expect(200);
        await api.SetPlan("acme", "big");
        await Explained(api, denial);
        api.Clock.Now = TestApi.Time("2027-03-01T00:00:00Z");
        (await api.Use("acme", "requests", 2)).Expect(201);
        await Explained(api, denial);

        api = await api.Restart(Catalog.Replace("\"requests\": 5", "\"requests\": 500", StringComparison.Ordinal).Replace("\"big\":", "\"huge\":", StringComparison.Ordinal));
        await using var second = api;
        Assert.Equal(explained.Text, (await Explained(api, denial)).Text);
    }

    [Fact]
    public async Task a_denial_decided_on_what_was_due_and_not_written_is_explained_before_and_after_it_is()
    {
        await using var api = await Start();
        (await api.Use("acme", "requests", 4)).Expect(201);
        api.Clock.Now = TestApi.Time("2026-12-02T10:00:00Z");
        var written = (await api.Get(Organization)).Number("version");
        var denial = (await api.Use("acme", "requests", 6)).Expect(402)["denial"]!;
        Assert.Equal(written, (await api.Get(Organization)).Number("version"));

        var before = await Explained(api, denial);
        (await api.Use("acme", "requests", 5)).Expect(201);
        Assert.Equal(before.Text, (await Explained(api, denial)).Text);
    }

    [Fact]
    public async Task every_kind_of_denial_is_explained()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        await Explained(api, (await api.Check("acme", "certificates"))["denial"]!);
        (await api.Use("acme", "ai_requests", 3)).Expect(201);
        await Explained(api, (await api.Check("acme", "ai_requests"))["denial"]!);
        await Explained(api, (await api.Use("acme", "ai_requests", 1)).Expect(403)["denial"]!);
        await Explained(api, (await api.Use("acme", "projects", 11)).Expect(403)["denial"]!);
        await Explained(api, (await api.Put($"{Organization}/gauges/projects", new { value = 12 })).Expect(403)["denial"]!);
        await Explained(api, (await api.Post($"{Organization}/holds", new { feature = "ai_requests", quantity = 1 })).Expect(403)["denial"]!);
        var all = (await api.Get($"{Organization}/entitlements")).Expect(200)["entitlements"]!.AsArray().Where(e => e!["denial"] is not null).ToList();
        Assert.True(all.Count > 3);
        foreach (var entitlement in all) await Explained(api, entitlement!["denial"]!);
    }

    [Fact]
    public async Task a_denial_of_late_use_is_explained_with_its_own_window()
    {
        await using var api = await Start();
        (await api.Use("acme", "requests", 4)).Expect(201);
        api.Clock.Now = TestApi.Time("2026-11-25T00:00:00Z");
        var denial = (await api.Post($"{Organization}/usage", new { feature = "requests", quantity = 2, timestamp = "2026-11-20T12:00:00Z" })).Expect(402)["denial"]!;

        var explained = await Explained(api, denial);
        Assert.Equal("2026-11-20T12:00:00Z", (string?)Step(explained, "late")["numbers"]!["happened_at"]);
        Assert.Equal(("4", "2026-11-21T00:00:00Z"), (Step(explained, "allowance")["numbers"]!["used"]!.ToString(), (string?)Step(explained, "allowance")["numbers"]!["to"]));
    }

    [Fact]
    public async Task a_denial_within_an_atomic_batch_is_explained_with_what_went_before_it()
    {
        await using var api = await Start();
        (await api.Use("acme", "requests", 1)).Expect(201);
        var denial = (await api.Post($"{Organization}/usage/batch", new
        {
            atomic = true,
            items = new object[] { new { feature = "requests", quantity = 2 }, new { feature = "jobs", quantity = 1 }, new { feature = "requests", quantity = 3 } },
        })).Expect(402)["denial"]!;
        Assert.Equal(2, (decimal)denial["remaining"]!);

        (await api.Use("acme", "requests", 4)).Expect(201);
        Assert.Equal("3", Step(await Explained(api, denial), "allowance")["numbers"]!["used"]!.ToString());
    }

    [Fact]
    public async Task an_id_that_is_none_of_ours_or_another_organizations_is_no_denial()
    {
        await using var api = await Start();
        await api.Open("other");
        var id = (string)(await api.Use("acme", "requests", 6)).Expect(402)["denial"]!["id"]!;

        (await api.Get($"/v1/organizations/other/denials/{id}")).ExpectProblem(404, "not_found", "There is no denial");
        foreach (var wrong in (string[])[id[..^1], id[..^2] + (id[^2] == 'A' ? "BA" : "AA"), "dn_" + (id[3] == 'A' ? "B" : "A") + id[4..], "dn_", "dn_!", "x", "dn_AAAA", id + "A"])
            (await api.Get($"{Organization}/denials/{wrong}")).ExpectProblem(404, "not_found", "An id is the 'id' of a denial");
        (await api.Get($"/v1/organizations/nobody/denials/{id}")).ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
    }

    [Fact]
    public async Task a_usage_record_is_explained_by_the_rules_the_windows_the_grants_and_the_events()
    {
        await using var api = await Start();
        await api.Grant("acme", 10);
        (await api.Use("acme", "words", 2)).Expect(201);
        (await api.Use("acme", "words", 3)).Expect(201);

        var explained = (await api.Get($"{Organization}/usage/ur_4/explain")).Expect(200);
        Assert.Equal(["organization_open yes", "subscription fallback", "feature in_plan", "allowance covers_part", "tokens burned", "grant burned", "decision allowed", "recorded covered", "grant burned",
            "window running", "window running"], Steps(explained));
        Assert.Equal((3m, 1m, 2m), (explained.Number("record.quantity"), explained.Number("record.covered.allowance"), explained.Number("record.covered.tokens")));
        var grant = Step(explained, "grant");
        Assert.Equal(("10", "6"), ((string?)grant["numbers"]!["before"], (string?)grant["numbers"]!["after"]));
        Assert.Equal(["2"], Events(grant));
        var window = Step(explained, "window");
        Assert.Equal(("month", "2", "5", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            ((string?)window["numbers"]!["window"], (string?)window["numbers"]!["before"], (string?)window["numbers"]!["after"], (string?)window["numbers"]!["from"], (string?)window["numbers"]!["to"]));
        Assert.Equal(["3", "4"], Events(window));

        // Later events change nothing of it but what became of the record.
        (await api.Use("acme", "words", 1)).Expect(201);
        Assert.Equal(explained.Text, (await api.Get($"{Organization}/usage/ur_4/explain")).Expect(200).Text);
        var instead = (await api.Post($"{Organization}/usage/ur_4/correct", new { quantity = 1, reason = "Counted twice" })).Expect(201).String("id")!;
        var corrected = (await api.Get($"{Organization}/usage/ur_4/explain")).Expect(200);
        Assert.True(corrected.True("record.voided"));
        var voided = Step(corrected, "voided");
        Assert.Equal(("corrected", "Counted twice", instead), ((string?)voided["outcome"], (string?)voided["numbers"]!["reason"], (string?)voided["numbers"]!["in_its_place"]));
        Assert.Equal(instead["ur_".Length..], Events(voided)[1]);
        Assert.Equal("correction in_its_place", Steps((await api.Get($"{Organization}/usage/{instead}/explain")).Expect(200)).First());
    }

    [Fact]
    public async Task a_record_past_the_limit_of_a_gauge_and_of_a_hold_are_explained_as_what_they_are()
    {
        await using var api = await Start();
        (await api.Post($"{Organization}/usage", new { feature = "requests", quantity = 7, enforce = false })).Expect(201);
        Assert.Contains("recorded past_the_limit", Steps((await api.Get($"{Organization}/usage/ur_2/explain")).Expect(200)));
        Assert.Contains("enforce off", Steps((await api.Get($"{Organization}/usage/ur_2/explain")).Expect(200)));

        var gauge = (await api.Use("acme", "seats", 2)).Expect(201).String("id");
        Assert.Contains("gauge moved", Steps((await api.Get($"{Organization}/usage/{gauge}/explain")).Expect(200)));

        var hold = (await api.Post($"{Organization}/holds", new { feature = "jobs", quantity = 4 })).Expect(201).String("id");
        var settled = (await api.Post($"{Organization}/holds/{hold}/settle", new { quantity = 3 })).Expect(200).String("usage.id");
        Assert.Equal("hold settled", Steps((await api.Get($"{Organization}/usage/{settled}/explain")).Expect(200)).First());
        (await api.Get($"{Organization}/usage/ur_1/explain")).ExpectProblem(404, "usage_record_unknown", "There is no usage record 'ur_1'.");
        (await api.Get("/v1/organizations/nobody/usage/ur_1/explain")).ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
    }
}
