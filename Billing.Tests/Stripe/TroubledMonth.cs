using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json.Nodes;
using Billing.Tests.Api;
using Billing.Tests.StripeSandbox;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>
/// A service beside a Stripe that misbehaves, and customers of whom each does one thing after the other: they buy, change, cancel, use,
/// complain, and send again what got no answer. Half of them came in the quiet month before, so that their periods end within this one.
/// </summary>
internal sealed class TroubledMonth : IAsyncDisposable
{
    private const string Catalog = """
        {
          "currency": "usd", "fallback_plan": "free", "grace_days": 3,
          "features": {
            "calls": { "name": "calls", "type": "metered", "meter": { "unit": "call", "window": "month" }, "mode": "overage", "unit_price": "0.01" },
            "requests": { "name": "requests", "type": "metered", "meter": { "unit": "request", "window": "month" }, "mode": "tokens", "token_cost": 1 }
          },
          "plans": {
            "free": { "name": "Free", "prices": [{ "interval": "month", "amount": 0 }], "features": { "calls": { "allowance": 100, "mode": "block" }, "requests": 10 } },
            "starter": { "name": "Starter", "prices": [{ "interval": "month", "amount": 999 }], "trial_days": 7, "trial_requires_payment_method": true, "features": { "calls": 500, "requests": 20 } },
            "pro": { "name": "Pro", "prices": [{ "interval": "month", "amount": 2900 }, { "interval": "year", "amount": 29000 }], "features": { "calls": 1000, "requests": 50 } },
            "scale": { "name": "Scale", "prices": [{ "interval": "month", "amount": 9900 }], "features": { "calls": 5000, "requests": 200 } }
          },
          "token_packages": {
            "small": { "name": "Small", "tokens": 1000, "prices": [{ "amount": 500 }] },
            "large": { "name": "Large", "tokens": 10000, "prices": [{ "amount": 2000 }] }
          }
        }
        """;

    private static readonly Instant Begin = Instant.FromUtc(2026, 10, 1, 0, 0);
    private static readonly Instant Trouble = Instant.FromUtc(2026, 11, 1, 0, 0);
    private static readonly Instant End = Trouble + Duration.FromDays(30);

    private static readonly (string Plan, string Interval)[] Plans = [("starter", "month"), ("pro", "month"), ("pro", "month"), ("pro", "year"), ("scale", "month")];

    /// <summary>Mostly good ones.</summary>
    private static readonly string[] Cards =
    [
        "4242424242424242", "4242424242424242", "5555555555554444", "4242424242424242", "4000000000000341", "4000000000000002", "4000002500003155", "4000000000000259", "4000000000005126",
    ];

    private static readonly string[] Methods =
    [
        "pm_card_visa", "pm_card_visa", "pm_card_mastercard", "pm_card_visa", "pm_card_chargeCustomerFail", "pm_card_chargeDeclined", "pm_card_authenticationRequired", "pm_card_createDispute", "pm_card_refundFail",
    ];

    private readonly Random dice;
    private readonly List<Customer> customers = [];
    private readonly HttpClient browser;
    private TestApi api;
    private int keys;

    /// <summary>One customer of ours.</summary>
    private sealed class Customer(string id)
    {
        public string Id { get; } = id;

        /// <summary>What it asked for and got no answer to, to be sent again as it was.</summary>
        public List<Asked> Unanswered { get; } = [];

        /// <summary>The payment intents and sessions for tokens that it was given.</summary>
        public List<string> Intents { get; } = [];

        public bool IsClosed { get; set; }
    }

    private sealed record Asked(HttpMethod Method, string Path, JsonObject? Body, string? Key, Func<Answer, Task>? Then);

    private TroubledMonth(TestApi api, int seed)
    {
        this.api = api;
        dice = new Random(seed);
        browser = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false }) { BaseAddress = new Uri(api.Sandbox.Url) };
        browser.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", api.Sandbox.ApiKey);
    }

    /// <summary>What happened, for the message of a test that fails.</summary>
    public List<string> Story { get; } = [];

    public static async Task<TroubledMonth> Run(int seed, int organizations)
    {
        var api = await TestApi.StartWithStripe(Catalog, "2026-10-01T00:00:00Z", seed, "--Billing:StripeTimeoutMilliseconds=250");
        var world = new TroubledMonth(api, seed);
        try
        {
            await world.Play(organizations);
            return world;
        }
        catch (Exception e)
        {
            var told = $"Seed {seed}: {e.Message}\n{string.Join('\n', world.Story.TakeLast(40))}";
            await world.DisposeAsync();
            throw new InvalidOperationException(told, e);
        }
    }

    public async ValueTask DisposeAsync()
    {
        browser.Dispose();
        await api.DisposeAsync();
    }

    // ---- playing

    private async Task Play(int organizations)
    {
        var arrivals = Enumerable.Range(0, organizations)
            .Select(i => (Id: $"org-{i:000}", At: i < organizations / 2 ? Begin + Duration.FromHours(dice.Next(24 * 30)) : Trouble + Duration.FromHours(dice.Next(24 * 25)))).OrderBy(a => a.At).ToList();
        var misbehaving = false;
        for (var now = Begin; now < End; now += Duration.FromMinutes(dice.Next(20, 160)))
        {
            await MoveTo(now);
            if (!misbehaving && now >= Trouble) misbehaving = Misbehave();
            while (arrivals is [var next, ..] && next.At <= now)
            {
                arrivals.RemoveAt(0);
                var customer = new Customer(next.Id);
                customers.Add(customer);
                await Ask(customer, HttpMethod.Post, "/v1/organizations", new() { ["id"] = customer.Id });
                await Ask(customer, HttpMethod.Put, $"/v1/organizations/{customer.Id}/profile", new() { ["name"] = customer.Id, ["email"] = $"{customer.Id}@example.com" });
                await Subscribe(customer);
            }
            foreach (var customer in customers.Where(_ => dice.Next(now < Trouble ? 400 : 60) == 0).ToList()) await Act(customer);
            if (misbehaving && dice.Next(100) == 0)
            {
                Tell("the service starts again");
                api = await api.Restart();
            }
        }
        api.Sandbox.Misbehaviour.Stop();
        Tell("from here on everything works");
        foreach (var customer in customers)
            while (customer.Unanswered.Count > 0) await AskAgain(customer);
        // Webhooks are tried again for days.
        await MoveTo(End + Duration.FromDays(4));
        await api.Settle();
    }

    private bool Misbehave()
    {
        Tell("trouble begins");
        var how = api.Sandbox.Misbehaviour;
        (how.Lose, how.Duplicate, how.Delay, how.Reorder) = (0.05, 0.10, 0.15, 0.25);
        (how.RateLimits, how.ServerErrors, how.LostAnswers, how.TimeOuts) = (0.02, 0.03, 0.03, 0.002);
        return true;
    }

    private async Task MoveTo(Instant time)
    {
        await api.Sandbox.AdvanceTo(time.ToDateTimeOffset());
        await api.RunDueWork();
        await api.RunStripeWork();
    }

    private async Task Act(Customer customer)
    {
        if (customer.Unanswered.Count > 0)
        {
            await AskAgain(customer);
            return;
        }
        if (customer.IsClosed) return;
        var org = $"/v1/organizations/{customer.Id}";
        switch (dice.Next(32))
        {
            case 0 or 1 or 2:
                await Subscribe(customer);
                break;
            case 3 or 4 or 5 when Live(customer).Any():
                var (plan, interval) = Plans[dice.Next(Plans.Length)];
                await Ask(customer, HttpMethod.Put, $"{org}/subscription", new() { ["plan"] = plan, ["interval"] = interval });
                break;
            case 6:
                await Ask(customer, HttpMethod.Delete, $"{org}/subscription?at=period_end", null);
                break;
            case 7:
                await Ask(customer, HttpMethod.Delete, $"{org}/subscription?at=now{(dice.Next(2) == 0 ? "&prorate=true" : "")}", null);
                break;
            case 8:
                await Ask(customer, HttpMethod.Post, $"{org}/subscription/reactivate", []);
                break;
            case 9:
                await Ask(customer, HttpMethod.Post, $"{org}/subscription/{(dice.Next(3) == 0 ? "pause" : "resume")}", []);
                break;
            case 10:
                await Ask(customer, HttpMethod.Put, $"{org}/subscription", new() { ["payment_method"] = Methods[dice.Next(5)] });
                break;
            case 11 or 12 or 13:
                await BuyTokens(customer, "payment_intent");
                break;
            case 14:
                await BuyTokens(customer, "checkout");
                break;
            case 15:
                await Ask(customer, HttpMethod.Put, $"{org}/tokens/top-up",
                    new() { ["token_package"] = "small", ["threshold"] = 200, ["max_count"] = 3, ["max_amount"] = 2000, ["cool_off_minutes"] = 60 });
                break;
            case 16:
                await AtStripe("refund", PaymentFor(customer) is { } refunded ? Post("/v1/refunds", $"payment_intent={refunded}", $"amount={dice.Next(1, 500)}") : null);
                break;
            case 17 when PaymentFor(customer) is { } disputed && api.Sandbox.All("dispute").All(d => Text(d, "payment_intent") != disputed):
                Tell($"{customer.Id} disputes {disputed}");
                api.Sandbox.Dispute(disputed);
                break;
            case 18 when api.Sandbox.All("dispute").FirstOrDefault(d => Text(d, "status") is "needs_response" or "under_review") is { } open:
                api.Sandbox.CloseDispute(Text(open, "id")!, dice.Next(2) == 0 ? "won" : "lost");
                break;
            case 19 when Live(customer).FirstOrDefault() is { } live:
                await AtStripe("the dashboard cancels", Post($"/v1/subscriptions/{Text(live, "id")}", "cancel_at_period_end=true"));
                break;
            case 20 when Live(customer).FirstOrDefault() is { } live:
                await AtStripe("the dashboard ends", Send(HttpMethod.Delete, $"/v1/subscriptions/{Text(live, "id")}"));
                break;
            case 21 when dice.Next(6) == 0:
                customer.IsClosed = true;
                await Ask(customer, HttpMethod.Delete, org, null);
                break;
            case 22:
                await Ask(customer, HttpMethod.Post, $"{org}/portal-sessions", new() { ["return_url"] = "https://app.example.com/billing" });
                break;
            default:
                var feature = dice.Next(3) == 0 ? "requests" : "calls";
                await Ask(customer, HttpMethod.Post, $"{org}/usage", new() { ["feature"] = feature, ["quantity"] = dice.Next(1, feature == "calls" ? 900 : 300) });
                break;
        }
    }

    private async Task Subscribe(Customer customer)
    {
        var (plan, interval) = Plans[dice.Next(Plans.Length)];
        var org = $"/v1/organizations/{customer.Id}";
        if (dice.Next(3) > 0)
            await Ask(customer, HttpMethod.Post, $"{org}/checkout-sessions", new() { ["plan"] = plan, ["interval"] = interval }, session => Pay(customer, session.String("url")!));
        else
            await Ask(customer, HttpMethod.Put, $"{org}/subscription", new() { ["plan"] = plan, ["interval"] = interval, ["payment_method"] = Methods[dice.Next(Methods.Length)] }, key: true);
    }

    private async Task BuyTokens(Customer customer, string mode)
    {
        var body = new JsonObject { ["token_package"] = dice.Next(3) == 0 ? "large" : "small", ["mode"] = mode };
        await Ask(customer, HttpMethod.Post, $"/v1/organizations/{customer.Id}/tokens/purchase", body, async bought =>
        {
            if (mode == "checkout")
            {
                await Pay(customer, bought.String("url")!);
                return;
            }
            customer.Intents.Add(bought.String("id")!);
            if (dice.Next(10) > 0) await AtStripe("confirm", Post($"/v1/payment_intents/{bought.String("id")}/confirm", $"payment_method={Methods[dice.Next(Methods.Length)]}", "return_url=https://app.example.com"));
        });
    }

    /// <summary>The customer fills in the page, or closes it.</summary>
    private async Task Pay(Customer customer, string url)
    {
        if (dice.Next(8) == 0) return;
        var card = Cards[dice.Next(Cards.Length)];
        var (status, to) = await Browse(url, ("number", card), ("expiry", "12 / 34"), ("cvc", "123"), ("name", customer.Id), ("email", $"{customer.Id}@example.com"));
        if (to?.StartsWith("/authenticate/", StringComparison.Ordinal) == true) (status, to) = await Browse(to, ("granted", dice.Next(3) > 0 ? "true" : "false"));
        Tell($"{customer.Id} pays with {card}: {status}");
    }

    private string? PaymentFor(Customer customer)
    {
        var paid = api.Sandbox.All("payment_intent").Where(i => Text(i, "status") == "succeeded" && Organization(i) == customer.Id && i["metadata"]?["token_package"] is not null).ToList();
        return paid.Count == 0 ? null : Text(paid[dice.Next(paid.Count)], "id");
    }

    private IEnumerable<JsonObject> Live(Customer customer) => api.Sandbox.All("subscription").Where(s => Organization(s) == customer.Id && IsLive(s));

    private static bool IsLive(JsonObject subscription) => Text(subscription, "status") is "active" or "trialing" or "past_due";

    // ---- speaking

    private Task Ask(Customer customer, HttpMethod method, string path, JsonObject? body, Func<Answer, Task>? then = null, bool key = false) =>
        Ask(customer, new Asked(method, path, body, method == HttpMethod.Post || key ? $"k{++keys}" : null, then));

    private async Task Ask(Customer customer, Asked asked)
    {
        Answer answer;
        try
        {
            answer = await api.Send(asked.Method, asked.Path, asked.Body?.ToJsonString(), asked.Key);
        }
        catch (HttpRequestException e)
        {
            Tell($"{asked.Method} {asked.Path}: {e.Message}");
            customer.Unanswered.Add(asked);
            return;
        }
        Tell($"{asked.Method} {asked.Path} {asked.Body?.ToJsonString()} {asked.Key}: {answer.Status} {answer.Code}");
        if (answer.Status == 500) throw new InvalidOperationException(answer.Text);
        if (answer.Status is 502 && answer.Code != "stripe_refused" || answer.Status == 503) customer.Unanswered.Add(asked);
        else if (answer.Status is 200 or 201 && asked.Then is { } then) await then(answer);
    }

    private async Task AskAgain(Customer customer)
    {
        var first = customer.Unanswered[0];
        customer.Unanswered.RemoveAt(0);
        await Ask(customer, first);
    }

    /// <summary>Something that others do at Stripe, without us. What goes wrong there is their business.</summary>
    private async Task AtStripe(string what, Task<int>? doing)
    {
        if (doing is null) return;
        try
        {
            Tell($"{what}: {await doing}");
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            Tell($"{what}: {e.Message}");
        }
    }

    private Task<int> Post(string path, params string[] parameters) => Send(HttpMethod.Post, path, parameters);

    private async Task<int> Send(HttpMethod method, string path, params string[] parameters)
    {
        using var request = new HttpRequestMessage(method, path);
        if (method == HttpMethod.Post) request.Content = new FormUrlEncodedContent(parameters.Select(p => p.Split('=', 2)).Select(p => KeyValuePair.Create(p[0], p[1])));
        using var patience = new CancellationTokenSource(TimeSpan.FromMilliseconds(300));
        using var response = await browser.SendAsync(request, patience.Token);
        return (int)response.StatusCode;
    }

    private async Task<(int Status, string? To)> Browse(string url, params (string Name, string Value)[] form)
    {
        using var response = await browser.PostAsync(url, new FormUrlEncodedContent(form.Select(f => KeyValuePair.Create(f.Name, f.Value))));
        return ((int)response.StatusCode, response.Headers.Location?.ToString());
    }

    private void Tell(string what) => Story.Add($"{api.Clock.Now.ToString("MM-dd HH:mm:ss", CultureInfo.InvariantCulture)} {what}");

    // ---- looking

    /// <summary>Reconciles every organization.</summary>
    /// <returns>The differences that were found, as text.</returns>
    public async Task<IReadOnlyList<string>> Reconcile(bool repair)
    {
        var found = new List<string>();
        foreach (var customer in customers)
        {
            var answer = (await api.Post($"/v1/organizations/{customer.Id}/reconcile", new { repair })).Expect(200);
            found.AddRange(answer["differences"]!.AsArray().Select(d => $"{customer.Id}{(customer.IsClosed ? " (closed)" : "")}: {d!.ToJsonString()}"));
        }
        await api.Settle();
        return found;
    }

    /// <summary>What is wrong between the two, as somebody sees who looks at both and knows nothing of reconciliation.</summary>
    public async Task<IReadOnlyList<string>> Differences()
    {
        var wrong = new List<string>();
        var stripe = api.Sandbox;
        var intents = stripe.All("payment_intent").Where(i => i["metadata"]?["token_package"] is not null).ToLookup(Organization);
        var refunds = stripe.All("charge").ToLookup(c => Text(c, "payment_intent"), c => c["amount_refunded"]!.GetValue<long>());
        // From the complaint on the money is gone, until the dispute is won.
        var lost = stripe.All("dispute").Where(d => Text(d, "status") is "needs_response" or "under_review" or "lost").ToLookup(d => Text(d, "payment_intent"), d => d["amount"]!.GetValue<long>());
        var items = stripe.All("invoiceitem").Where(i => i["metadata"]?["billing_line"] is not null).ToLookup(Organization);
        var (subscriptions, made) = (stripe.All("subscription").Where(IsLive).ToLookup(Organization), stripe.All("customer").ToLookup(Organization));
        foreach (var customer in customers)
        {
            void Is(object? expected, object? actual, string what)
            {
                if (!Equals(expected, actual)) wrong.Add($"{customer.Id}: {what} is {actual ?? "null"} and should be {expected ?? "null"}");
            }

            if (made[customer.Id].Count() > 1) wrong.Add($"{customer.Id} has {made[customer.Id].Count()} customers at Stripe");
            var live = subscriptions[customer.Id].ToList();
            if (live.Count > 1) wrong.Add($"{customer.Id} has {live.Count} subscriptions at Stripe");
            await api.VerifyLedger(customer.Id);

            // The subscription.
            var view = await api.Subscription(customer.Id);
            if (live is [var own] && !customer.IsClosed)
            {
                Is(Text(own, "id"), view.String("id"), "the subscription");
                if (own["pause_collection"] is null) Is(Text(own, "status"), view.String("status"), "its status");
                Is(own.Read("items.data.0.price.lookup_key")!.GetValue<string>(), $"{view.String("subscribed_plan")}-{view.String("interval")}", "its price");
                Is(own["cancel_at_period_end"]!.GetValue<bool>(), view.True("cancel_at_period_end"), "its end");
            }
            // Whoever asked for a plan while the ledger knew of no subscription has one that the ledger keeps.
            else if (live.Count == 0 && !customer.IsClosed && view.String("kept_by") != "ledger")
            {
                Is("free", view.String("plan"), "the plan");
            }

            // Tokens: one grant for each payment, and of what went back the part that it was.
            var tokens = (await api.Get($"/v1/organizations/{customer.Id}/tokens")).Expect(200);
            var grants = tokens["grants"]!.AsArray().Where(g => g!["payment"] is not null).ToDictionary(g => g!["payment"]!.GetValue<string>(), g => g!);
            var paid = intents[customer.Id].Where(i => Text(i, "status") == "succeeded").ToList();
            if (!customer.IsClosed)
            {
                Is(string.Join(' ', paid.Select(i => Text(i, "id")).Order(StringComparer.Ordinal)), string.Join(' ', grants.Keys.Order(StringComparer.Ordinal)), "the grants");
                foreach (var intent in paid.Where(i => grants.ContainsKey(Text(i, "id")!)))
                {
                    var (id, grant) = (Text(intent, "id")!, grants[Text(intent, "id")!]);
                    var back = Math.Min(refunds[id].Sum() + lost[id].Sum(), intent["amount"]!.GetValue<long>());
                    Is(grant["granted"]!.GetValue<long>() * back / intent["amount"]!.GetValue<long>(), grant["revoked"]!.GetValue<long>() + grant["debt"]!.GetValue<long>(), $"what went back of {id}");
                }
            }
            foreach (var topUp in intents[customer.Id].Where(i => i["metadata"]?["top_up"] is not null && Text(i, "status") == "succeeded").GroupBy(i => i["metadata"]!["top_up"]!.GetValue<string>()).Where(g => g.Count() > 1))
                wrong.Add($"{customer.Id}: {topUp.Key} was charged {topUp.Count()} times");

            // Overage: every line once, and as much as was billed.
            var lines = (await api.Ledger(customer.Id, "lines-billed-at-stripe")).SelectMany(e => e["data"]!["lines"]!.AsArray()).Select(l => l!["amount"]!.GetValue<long>()).Order();
            Is(string.Join(' ', lines), string.Join(' ', items[customer.Id].Select(i => i["amount"]!.GetValue<long>()).Order()), "overage at Stripe");
        }
        return wrong;
    }

    /// <summary>That enough happened for the rest to mean something.</summary>
    public IReadOnlyDictionary<string, int> Counts() => new Dictionary<string, int>
    {
        ["subscriptions"] = api.Sandbox.All("subscription").Count,
        ["paid invoices"] = api.Sandbox.All("invoice").Count(i => Text(i, "status") == "paid"),
        ["token payments"] = api.Sandbox.All("payment_intent").Count(i => i["metadata"]?["token_package"] is not null && Text(i, "status") == "succeeded"),
        ["top-ups"] = api.Sandbox.All("payment_intent").Count(i => i["metadata"]?["top_up"] is not null && Text(i, "status") == "succeeded"),
        ["invoice items"] = api.Sandbox.All("invoiceitem").Count(i => i["metadata"]?["billing_line"] is not null),
        ["refunds"] = api.Sandbox.All("refund").Count,
        ["disputes"] = api.Sandbox.All("dispute").Count,
        ["events"] = api.Sandbox.All("event").Count,
    };

    private static string? Text(JsonObject o, string name) => o[name]?.GetValue<string>();

    private static string? Organization(JsonObject o) => o["metadata"]?["organization_id"]?.GetValue<string>();
}
