using System.Text;
using System.Text.Json.Nodes;
using Billing.Api.Stripe;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Stripe's webhook: nothing gets in unsigned, and nothing that is acknowledged gets lost.</summary>
public sealed class WebhookTests
{
    // ---- the signature, by vectors that Stripe's own Node client and Python's hmac agree on

    private const long SignedAt = 1_700_000_000;
    private const string Secret = "whsec_test_secret";
    private const string OldSecret = "whsec_old_secret";
    private const string Good = "3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e";
    private const string GoodByOld = "fa749a40793ff5b8d615dc3929eca5ead030a1e5885db34b1589ab6517d2e446";

    private static readonly byte[] Body = """{"id":"evt_test_1","object":"event","type":"invoice.paid"}"""u8.ToArray();
    private static readonly string Wrong = new('a', 64);

    private static string? Problem(string? header, long age = 0, byte[]? body = null, params string[] secrets) =>
        StripeSignature.Problem(header, body ?? Body, secrets is [] ? [Secret] : secrets, SignedAt + age);

    [Fact]
    public void each_secret_signs_as_stripe_does()
    {
        Assert.Null(Problem($"t={SignedAt},v1={Good}"));
        Assert.Null(Problem($"t={SignedAt},v1={GoodByOld}", secrets: OldSecret));
        Assert.Equal("No signature matches. Check that STRIPE_WEBHOOK_SECRET is this endpoint's.", Problem($"t={SignedAt},v1={GoodByOld}"));
    }

    [Fact]
    public void any_secret_may_have_made_any_of_the_signatures()
    {
        string[] both = [Secret, OldSecret];
        Assert.Null(Problem($"t={SignedAt},v1={GoodByOld}", secrets: both));
        Assert.Null(Problem($"t={SignedAt},v1={Good},v1={GoodByOld}", secrets: both));
        Assert.Null(Problem($"t={SignedAt},v1={Wrong},v1={Good}"));
        Assert.Null(Problem($"t={SignedAt},v1={Good},v1={Wrong}"));
        Assert.Null(Problem($"v1={Good},t={SignedAt}"));
        Assert.NotNull(Problem($"t={SignedAt},v1={Wrong},v1={Wrong}", secrets: both));
    }

    [Fact]
    public void only_v1_counts()
    {
        Assert.Null(Problem($"t={SignedAt},v1={Good},v0={Wrong}"));
        Assert.Null(Problem($"t={SignedAt},v1={Good},v2={Wrong},nonsense"));
        Assert.Equal("The Stripe-Signature header has no v1 signature.", Problem($"t={SignedAt},v0={Good}"));
        Assert.NotNull(Problem($"t={SignedAt},v0={Good},v1={Wrong}"));
    }

    [Fact]
    public void a_signature_is_64_lower_case_hex_digits()
    {
        Assert.NotNull(Problem($"t={SignedAt},v1={Good.ToUpperInvariant()}"));
        Assert.NotNull(Problem($"t={SignedAt},v1={Good[..63]}"));
        Assert.NotNull(Problem($"t={SignedAt},v1={Good}00"));
        Assert.NotNull(Problem($"t={SignedAt},v1={Good[..63]}g"));
        Assert.NotNull(Problem($"t={SignedAt},v1="));
    }

    [Theory]
    [InlineData(0, true)]
    [InlineData(300, true)]
    [InlineData(301, false)]
    [InlineData(-300, true)]
    [InlineData(-301, false)]
    public void a_signature_is_good_for_300_seconds_both_ways(long age, bool isGood)
    {
        var problem = Problem($"t={SignedAt},v1={Good}", age);
        Assert.Equal(isGood ? null : "The signature is more than 300 s away from our clock.", problem);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("t=1700000000")]
    [InlineData("v1=3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData("t=,v1=3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData("t=now,v1=3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData("t=-1700000000,v1=3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData("t=99999999999999999999,v1=3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData("t=1700000001,v1=3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData(",,,===,")]
    public void a_header_without_a_signed_time_is_refused(string? header) => Assert.NotNull(Problem(header));

    [Fact]
    public void the_signature_covers_every_byte_of_the_body()
    {
        for (var i = 0; i < Body.Length; i++)
        {
            var tampered = Body.ToArray();
            tampered[i] ^= 1;
            Assert.NotNull(Problem($"t={SignedAt},v1={Good}", body: tampered));
        }
        Assert.NotNull(Problem($"t={SignedAt},v1={Good}", body: [.. Body, (byte)'\n']));
    }

    // ---- over HTTP

    private static JsonObject AnEvent(string? id = null) => StripeFixture.Event("payment_intent.succeeded",
        StripeFixture.PaymentIntent("pi_1", 500, "acme", "starter", "cus_1"), TestApi.Time("2026-11-20T09:59:00Z"), id);

    private static byte[] Bytes(JsonObject e) => Encoding.UTF8.GetBytes(e.ToJsonString());

    private static async Task<JsonArray> Events(TestApi api, string query = "") => (await api.Get("/v1/stripe/events" + query)).Expect(200)["items"]!.AsArray();

    private static async Task<long> Balance(TestApi api) => (long)(await api.Get("/v1/organizations/acme/tokens")).Expect(200).Number("balance");

    [Fact]
    public async Task what_is_not_signed_well_or_no_event_is_refused_and_not_stored()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var now = api.Clock.Now.ToUnixTimeSeconds();
        var body = Bytes(AnEvent());
        var good = TestApi.Sign(body, now);

        (await api.Webhook([.. body, (byte)' '], good)).ExpectProblem(400, "signature_invalid", "No signature matches.");
        (await api.Webhook(body, TestApi.Sign(body, now - 301))).ExpectProblem(400, "signature_invalid", "more than 300 s away");
        (await api.Webhook(body, TestApi.Sign(body, now + 301))).ExpectProblem(400, "signature_invalid", "more than 300 s away");
        (await api.Webhook(body, good.Replace($"t={now}", $"t={now - 1}", StringComparison.Ordinal))).ExpectProblem(400, "signature_invalid", "No signature matches.");
        (await api.Webhook(body, TestApi.Sign(body, now, "whsec_other"))).ExpectProblem(400, "signature_invalid", "No signature matches.");
        (await api.Webhook(body, TestApi.Sign(body, now, ""))).ExpectProblem(400, "signature_invalid", "No signature matches.");
        (await api.Webhook(body, "")).ExpectProblem(400, "signature_invalid", "header is missing");
        (await api.Webhook(body, "nonsense")).ExpectProblem(400, "signature_invalid", "has no time");

        var text = Encoding.UTF8.GetString(body);
        (await api.Raw(text, "POST /webhooks/stripe", "Content-Type: application/json")).ExpectProblem(400, "signature_invalid", "header is missing");
        (await api.Raw(text, "POST /webhooks/stripe", "Content-Type: application/json", $"Stripe-Signature: {good}", $"Stripe-Signature: {good}"))
            .ExpectProblem(400, "signature_invalid", "");

        Assert.Empty(await Events(api));
        Assert.Equal(0, await Balance(api));

        // The same with one good header is taken, whatever it says that its content is: the bytes are signed.
        (await api.Raw(text, "POST /webhooks/stripe", "Content-Type: text/plain", $"Stripe-Signature: {good}")).Expect(200);
        await api.RunStripeWork();
        Assert.Equal(100_000, await Balance(api));
    }

    [Fact]
    public async Task a_body_over_256_kib_is_refused_before_its_signature_is_looked_at()
    {
        await using var api = await TestApi.Start("learning-community");
        var large = AnEvent();
        large["padding"] = new string('x', 1024 * 1024);
        (await api.Webhook(Bytes(large))).ExpectProblem(413, "body_too_large", "A webhook may have at most 262144 bytes.");
        (await api.Webhook(Bytes(large), "nonsense")).ExpectProblem(413, "body_too_large", "A webhook may have at most 262144 bytes.");

        using var chunked = new HttpRequestMessage(HttpMethod.Post, "/webhooks/stripe") { Content = new ByteArrayContent(Bytes(large)) };
        chunked.Headers.TransferEncodingChunked = true;
        (await api.Send(chunked)).ExpectProblem(413, "body_too_large", "A webhook may have at most 262144 bytes.");
        Assert.Empty(await Events(api));

        var fits = AnEvent();
        fits["padding"] = new string('x', 200 * 1024);
        (await api.Webhook(fits)).Expect(200);
    }

    [Theory]
    [InlineData("", "invalid_json")]
    [InlineData("{", "invalid_json")]
    [InlineData("not json", "invalid_json")]
    [InlineData("{\"id\":\"evt_1\",}", "invalid_json")]
    [InlineData("[]", "event_invalid")]
    [InlineData("null", "event_invalid")]
    [InlineData("3", "event_invalid")]
    [InlineData("{}", "event_invalid")]
    [InlineData("""{"id":"evt_test_1","object":"event","type":"invoice.paid"}""", "event_invalid")]
    [InlineData("""{"id":"cus_1","object":"customer","type":"x","created":1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":3,"object":"event","type":"invoice.paid","created":1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"","object":"event","type":"invoice.paid","created":1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":null,"created":1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":"invoice.paid","created":"now","data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":"invoice.paid","created":-1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":"invoice.paid","created":1e30,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":"invoice.paid","created":1,"data":{}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":"invoice.paid","created":1,"data":{"object":[]}}""", "event_invalid")]
    [InlineData("""{"id":"evt_\ud800","object":"event","type":"invoice.paid","created":1,"data":{"object":{}}}""", "event_invalid")]
    [InlineData("""{"id":"evt_1","object":"event","type":"invoice.paid","created":1,"data":{"object":{"\ud800":1}}}""", "invalid_json")]
    [InlineData("""{"id":"evt_1","id":"evt_2","object":"event","type":"invoice.paid","created":1,"data":{"object":{}}}""", "invalid_json")]
    public async Task a_signed_body_that_is_no_event_is_refused_and_not_stored(string body, string code)
    {
        await using var api = await TestApi.Start("learning-community");
        (await api.Webhook(Encoding.UTF8.GetBytes(body))).ExpectProblem(400, code, "The body");
        Assert.Empty(await Events(api));
    }

    /// <summary>Whatever is signed and shaped like an event is stored and acknowledged; what it says may be understood or not.</summary>
    [Theory]
    [InlineData("invoice.paid", "{}")]
    [InlineData("invoice.paid", """{"id":3,"customer":[],"parent":"x","metadata":7}""")]
    [InlineData("invoice.paid", """{"id":"in_1","customer":"cus_1","metadata":{"organization_id":"acme"},"amount_paid":-5,"currency":"nothing","attempt_count":9e99}""")]
    [InlineData("invoice.payment_failed", """{"id":"in_1","customer":"cus_1","metadata":{"organization_id":"acme"},"attempt_count":-3}""")]
    [InlineData("invoice.paid", """{"id":"in_\ud800","customer":"\ud800","metadata":{"organization_id":"\ud800"}}""")]
    [InlineData("customer.subscription.updated", "{}")]
    [InlineData("customer.subscription.updated", """{"id":"sub_1","status":"dancing","metadata":{"organization_id":"acme"}}""")]
    [InlineData("customer.subscription.updated", """{"id":"sub_1","status":"active","metadata":{"organization_id":"acme"},"items":{"data":[3,null,"x"]}}""")]
    [InlineData("customer.subscription.updated", """{"id":"sub_1","status":"active","created":1,"metadata":{"organization_id":"acme"},"items":{"data":[{"price":{"lookup_key":"pro-learn-month"},"current_period_start":5,"current_period_end":5}]}}""")]
    [InlineData("customer.subscription.updated", """{"id":"sub_1","status":"active","created":1,"metadata":{"organization_id":"acme"},"items":{"data":[{"price":{"lookup_key":"pro-learn-month"},"current_period_start":9,"current_period_end":5}]}}""")]
    [InlineData("customer.subscription.updated", """{"id":"sub_1","status":"active","created":1,"metadata":{"organization_id":"acme"},"items":{"data":[{"price":{"lookup_key":"pro-learn-month"},"current_period_start":253402214400,"current_period_end":253402300000}]}}""")]
    [InlineData("customer.subscription.updated", """{"id":"sub_1","status":"past_due","created":1,"metadata":{"organization_id":"acme"},"items":{"data":[{"price":{"lookup_key":"pro-learn-month"},"current_period_start":253402300000,"current_period_end":253402300000}]}}""")]
    [InlineData("checkout.session.completed", """{"mode":"payment","payment_status":"paid","metadata":{"organization_id":"acme","token_package":"nothing"}}""")]
    [InlineData("checkout.session.completed", """{"mode":"payment","payment_status":"paid","metadata":{"organization_id":"a b","token_package":"starter"}}""")]
    [InlineData("payment_intent.succeeded", """{"id":"pi_1","status":"succeeded","amount_received":-1,"metadata":{"organization_id":"acme","token_package":"starter"}}""")]
    public async Task an_event_that_is_not_understood_is_kept_and_breaks_nothing(string type, string data)
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Use("acme", "ai_requests")).Expect(201);
        (await api.Webhook(Encoding.UTF8.GetBytes($$$"""{"id":"evt_1","object":"event","type":"{{{type}}}","created":1795168000,"data":{"object":{{{data}}}}}"""))).Expect(200);

        Assert.Single(await Events(api));
        (await api.Get("/v1/organizations/acme")).Expect(200);
        (await api.Get("/v1/organizations/acme/subscription")).Expect(200);
        (await api.Get("/v1/organizations/acme/entitlements")).Expect(200);
        (await api.Get("/v1/organizations/acme/usage/current")).Expect(200);
        (await api.Use("acme", "ai_requests")).Expect(201);
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task an_event_type_that_is_not_ours_is_acknowledged_and_counted_as_ignored()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var e = StripeFixture.Event("customer.tax_id.created", new JsonObject { ["id"] = "txi_1", ["customer"] = "cus_1" }, api.Clock.Now);
        (await api.Webhook(e)).Expect(200);
        (await api.Webhook(e)).Expect(200);

        var stored = Assert.Single(await Events(api, "?state=ignored"))!;
        Assert.Equal((string?)e["id"], (string?)stored["id"]);
        Assert.Equal("customer.tax_id.created", (string?)stored["type"]);
        Assert.Equal(1, (await api.Get("/v1/organizations/acme")).Number("version"));
    }

    [Fact]
    public async Task an_event_that_comes_again_is_acknowledged_and_has_no_second_effect()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        var e = AnEvent();
        for (var i = 0; i < 3; i++) (await api.Webhook(e)).Expect(200);
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => api.Webhook(e)));
        Assert.All(answers, a => a.Expect(200));
        (await api.Post($"/v1/stripe/events/{e["id"]}/replay")).Expect(200);

        Assert.Equal("applied", (string?)Assert.Single(await Events(api))!["state"]);
        Assert.Equal(100_000, await Balance(api));
        Assert.Single((await api.Get("/v1/organizations/acme/tokens")).Expect(200)["grants"]!.AsArray());
        await api.VerifyLedger("acme");
    }

    [Fact]
    public async Task without_a_secret_nothing_is_taken()
    {
        await using var api = await TestApi.Start("learning-community", args: "--STRIPE_WEBHOOK_SECRET=");
        var body = Bytes(AnEvent());
        (await api.Webhook(body)).ExpectProblem(503, "stripe_not_configured", "Set STRIPE_WEBHOOK_SECRET to the endpoint's signing secret (whsec_…).");
        (await api.Webhook(body, TestApi.Sign(body, api.Clock.Now.ToUnixTimeSeconds(), ""))).ExpectProblem(503, "stripe_not_configured", "");
        Assert.Empty(await Events(api));
        Assert.False((await api.Get("/v1/config")).Expect(200).True("webhooks"));
    }

    [Fact]
    public async Task every_secret_of_the_list_is_tried()
    {
        await using var api = await TestApi.Start("learning-community", args: "--STRIPE_WEBHOOK_SECRET= whsec_a , whsec_b,");
        var body = Bytes(AnEvent());
        var now = api.Clock.Now.ToUnixTimeSeconds();
        (await api.Webhook(body, TestApi.Sign(body, now, "whsec_b"))).Expect(200);
        (await api.Webhook(body, TestApi.Sign(body, now, "whsec_a"))).Expect(200);
        (await api.Webhook(body, TestApi.Sign(body, now, "whsec_test_secret"))).ExpectProblem(400, "signature_invalid", "");
        (await api.Webhook(body, TestApi.Sign(body, now, ""))).ExpectProblem(400, "signature_invalid", "");
    }

    [Fact]
    public async Task an_event_is_durable_before_it_is_acknowledged()
    {
        await using var api = await TestApi.Start("learning-community");
        (await api.Webhook(AnEvent("evt_waits"))).Expect(200);

        // What is on the disk at the moment of the answer, with the service still running: as after a power cut.
        var copy = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            foreach (var file in (string[])["ledger.db", "ledger.db-wal"]) File.Copy(Path.Combine(api.Folder, file), Path.Combine(copy, file));
            await using var after = await TestApi.Start("learning-community", folder: copy);
            Assert.Equal("evt_waits", (string?)Assert.Single(await Events(after, "?state=unclaimed"))!["id"]);
            await after.Open("acme");
            Assert.Equal(100_000, await Balance(after));
            Assert.Equal("applied", (string?)Assert.Single(await Events(after))!["state"]);
        }
        finally
        {
            Directory.Delete(copy, recursive: true);
        }
    }

    [Fact]
    public async Task bodies_older_than_90_days_are_removed_and_what_they_did_stays()
    {
        await using var api = await TestApi.Start("learning-community");
        await api.Open("acme");
        (await api.Webhook(AnEvent("evt_old"))).Expect(200);
        api.Clock.Advance(Duration.FromDays(90));
        await api.RunDueWork();
        (await api.Post("/v1/stripe/events/evt_old/replay")).Expect(200);
        var before = (await Events(api)).ToJsonString();

        api.Clock.Advance(Duration.FromHours(1));
        (await api.Webhook(StripeFixture.Event("payment_intent.succeeded", StripeFixture.PaymentIntent("pi_2", 500, "acme", "starter", "cus_1"), api.Clock.Now, "evt_new"))).Expect(200);
        await api.RunDueWork();

        (await api.Post("/v1/stripe/events/evt_old/replay")).ExpectProblem(404, "not_found", "There is no event 'evt_old' with a body to replay.");
        (await api.Post("/v1/stripe/events/evt_new/replay")).Expect(200);
        var after = await Events(api);
        Assert.Equal(2, after.Count);
        Assert.Equal(before, new JsonArray(after[0]!.DeepClone()).ToJsonString());
        Assert.Equal(200_000, await Balance(api));

        // Sent once more, it is still known.
        (await api.Webhook(AnEvent("evt_old"))).Expect(200);
        Assert.Equal(200_000, await Balance(api));
    }
}
