using NodaTime;
using NodaTime.Text;

namespace Billing.Tests.Api;

/// <summary>Time travel answers what the service answered then.</summary>
public sealed class TimeTravelTests
{
    private const string Organization = "/v1/organizations/acme";

    /// <summary>What callers could read, and where the whole state has it.</summary>
    private static readonly (string Route, string? Part)[] Reads =
    [
        ("", "organization"), ("/entitlements", null), ("/subscription", "subscription"), ("/usage/current", "usage"), ("/tokens", "tokens"), ("/tokens/top-up", "top_up"),
        ("/holds", "holds"), ("/overrides", "overrides"), ("/spend-caps", "spend_caps"), ("/billing-terms", "billing_terms"), ("/invoices", "invoices"),
    ];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task at_any_instant_of_a_random_run_it_answers_what_the_service_answered_then(int seed)
    {
        var random = new Random(seed);
        var api = await TestApi.Start(Ledger.CorrectionTests.Catalog);
        await api.Open("acme", timeZone: "Europe/Berlin");
        var answers = new List<(Instant At, Dictionary<string, string> Answers)>();
        var records = new List<string>();
        for (var step = 0; step < 45; step++)
        {
            api.Clock.Advance(Duration.FromMinutes(random.Next(5) switch { 0 => random.Next(2_000, 20_000), 1 => random.Next(60, 2_000), _ => random.Next(1, 60) }));
            await Act(api, random, records);
            if (step == 22) api = await api.Restart(Ledger.CorrectionTests.Catalog.Replace("\"requests\": 5", "\"requests\": 6", StringComparison.Ordinal));
            // At times nothing happens between two reads, and windows turn.
            api.Clock.Advance(Duration.FromSeconds(random.Next(1, 4) == 1 ? random.Next(80_000) : 1));
            answers.Add((api.Clock.Now, await Read(api)));
        }
        await using var last = api;
        api.Clock.Advance(Duration.FromDays(40));
        (await api.Use("acme", "jobs", 1)).Expect(201);

        foreach (var (at, expected) in answers)
        {
            var state = (await api.Get($"{Organization}/ledger/state?at={InstantPattern.ExtendedIso.Format(at)}")).Expect(200);
            foreach (var (route, part) in Reads)
                Assert.True(expected[route] == Part(state, part), $"Seed {seed}, {at}, {route}: then\n{expected[route]}\nnow\n{Part(state, part)}");
        }
    }

    private static string Part(Answer state, string? part) => (part is null ? state["entitlements"] : state[part])!.ToJsonString();

    private static async Task<Dictionary<string, string>> Read(TestApi api)
    {
        var answers = new Dictionary<string, string>();
        foreach (var (route, part) in Reads)
        {
            var answer = (await api.Get(Organization + route)).Expect(200);
            // Lists are pages there, and the first page has all of them here.
            answers[route] = (part is null ? answer["entitlements"] : answer["items"] ?? answer["overrides"] ?? answer.Json)!.ToJsonString();
        }
        return answers;
    }

    private static async Task Act(TestApi api, Random random, List<string> records)
    {
        string[] sums = ["jobs", "calls", "requests", "mails", "words", "minutes"];
        var feature = sums[random.Next(sums.Length)];
        switch (random.Next(14))
        {
            case 0: await api.Grant("acme", random.Next(1, 40)); break;
            case 1: await api.SetPlan("acme", ((string[])["free", "big", "small"])[random.Next(3)]); break;
            case 2: await Take(await api.Use("acme", ((string[])["storage", "seats"])[random.Next(2)], random.Next(-3, 60) is var q && q == 0 ? 1 : q)); break;
            case 3: await api.Post($"{Organization}/holds", new { feature, quantity = random.Next(1, 5), expires_in = random.Next(60, 90_000) }); break;
            case 4: await api.Put($"{Organization}/overrides/requests", new { allowance = random.Next(0, 9), until = InstantPattern.ExtendedIso.Format(api.Clock.Now + Duration.FromHours(random.Next(1, 100))) }); break;
            case 5: await api.Post($"{Organization}/tokens/grants", new { tokens = 9, expires_at = InstantPattern.ExtendedIso.Format(api.Clock.Now + Duration.FromHours(random.Next(1, 100))) }); break;
            case 6: await api.Post($"{Organization}/invoices/generate"); break;
            case 7: await Take(await api.Post($"{Organization}/usage", new { feature, quantity = random.Next(1, 9), timestamp = InstantPattern.ExtendedIso.Format(api.Clock.Now - Duration.FromHours(random.Next(1, 300))) })); break;
            case 8 when records.Count > 0: await api.Post($"{Organization}/usage/{records[random.Next(records.Count)]}/void"); break;
            case 9 when records.Count > 0: await Take(await api.Post($"{Organization}/usage/{records[random.Next(records.Count)]}/correct", new { quantity = random.Next(1, 9) })); break;
            case 10: await api.RunDueWork(); break;
            case 11: await api.Put($"{Organization}/spend-caps", new { organization = random.Next(100, 2_000) }); break;
            default: await Take(await api.Use("acme", feature, random.Next(1, 9))); break;
        }

        Task Take(Answer answer)
        {
            Assert.True(answer.Status < 500, answer.Text);
            if (answer.Status == 201) records.Add(answer.String("id")!);
            return Task.CompletedTask;
        }
    }

    [Fact]
    public async Task time_travel_goes_from_the_opening_to_now()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        api.Clock.Advance(Duration.FromHours(1));
        (await api.Use("acme", "ai_requests", 2)).Expect(201);

        var state = (await api.Get($"{Organization}/ledger/state?at=2026-11-20T10:00:00Z")).Expect(200);
        Assert.Equal((1m, "explorer", "2026-11-20T10:00:00Z"), (state.Number("version"), state.String("organization.plan"), state.String("at")));
        Assert.Equal(2, (await api.Get($"{Organization}/ledger/state")).Expect(200).Number("version"));
        (await api.Get($"{Organization}/ledger/state?at=2026-11-20T09:59:59Z")).ExpectProblem(400, "before_opening", "The organization was opened at 2026-11-20T10:00:00Z", "at");
        (await api.Get($"{Organization}/ledger/state?at=2026-11-20T11:00:00.000001Z")).ExpectProblem(400, "invalid_parameter", "Nothing is known of then", "at");
        (await api.Get($"{Organization}/ledger/state?at=yesterday")).ExpectProblem(400, "invalid_parameter", "'yesterday' is no time", "at");
        (await api.Get("/v1/organizations/nobody/ledger/state")).ExpectProblem(404, "organization_unknown", "There is no organization 'nobody'.");
    }
}
