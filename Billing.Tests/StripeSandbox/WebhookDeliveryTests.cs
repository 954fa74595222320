using System.Collections.Concurrent;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Billing.Api.Stripe;
using Billing.StripeSandbox;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Billing.Tests.StripeSandbox;

/// <summary>Webhooks as a receiver sees them: signed, retried, and as unreliable as they were told to be.</summary>
public sealed class WebhookDeliveryTests
{
    private const string Secret = "whsec_test_secret";

    [Theory]
    [InlineData("whsec_test_secret", 1700000000, """{"id":"evt_test_1","object":"event","type":"invoice.paid"}""", "3e3e661992c26c45d9105cbea450acc1a34f8c6dbafbd891f858c6fd9054fe3e")]
    [InlineData("whsec_old_secret", 1700000000, """{"id":"evt_test_1","object":"event","type":"invoice.paid"}""", "fa749a40793ff5b8d615dc3929eca5ead030a1e5885db34b1589ab6517d2e446")]
    public void the_signature_is_stripes(string secret, long time, string body, string expected) =>
        Assert.Equal($"t={time},v1={expected}", SandboxServer.Sign(secret, time, Encoding.UTF8.GetBytes(body)));

    [Fact]
    public async Task what_happens_is_told_in_order_with_a_signature_of_now()
    {
        await using var receiver = await Receiver.Open();
        await using var stripe = await Open(receiver);
        await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900));
        await stripe.Server.Settle();
        await stripe.AdvanceTo("2026-12-20T11:00:00Z");

        Assert.Equal(stripe.Events(), receiver.Types);
        Assert.All(receiver.Received, r => Assert.Null(StripeSignature.Problem(r.Signature, r.Body, [Secret], r.SignedAt)));
        Assert.Equal(stripe.Clock.Now.ToUnixTimeSeconds(), receiver.Received.Last().SignedAt);
        var e = JsonNode.Parse(receiver.Received.First().Body)!;
        Assert.Equal(("event", "2026-07-29.dahlia", 1L), (e["object"]!.GetValue<string>(), e["api_version"]!.GetValue<string>(), e["pending_webhooks"]!.GetValue<long>()));
        Assert.StartsWith("req_", e["request"]!["id"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Null(JsonNode.Parse(receiver.Received.Last().Body)!["request"]!["id"]);
        Assert.Empty((await stripe.Get("/v1/events?delivery_success=false")).Ok()["data"]!.AsArray());
    }

    [Fact]
    public async Task what_is_not_taken_is_sent_again_signed_anew_for_three_days()
    {
        await using var receiver = await Receiver.Open();
        await using var stripe = await Open(receiver);
        receiver.Status = HttpStatusCode.InternalServerError;
        await stripe.Customer();
        await stripe.Server.Settle();
        Assert.Single(receiver.Received);

        await stripe.AdvanceTo("2026-11-20T12:00:00Z");
        Assert.Equal(4, receiver.Received.Count);
        Assert.Equal(4, receiver.Received.Select(r => r.SignedAt).Distinct().Count());
        Assert.Single((await stripe.Get("/v1/events?delivery_success=false&type=customer.created")).Ok()["data"]!.AsArray());
        receiver.Status = HttpStatusCode.OK;
        await stripe.AdvanceTo("2026-11-30T10:00:00Z");

        Assert.Equal(5, receiver.Received.Count);
        Assert.Empty((await stripe.Get("/v1/events?delivery_success=false")).Ok()["data"]!.AsArray());
    }

    [Fact]
    public async Task a_draft_waits_an_hour_from_when_its_seller_was_told_and_three_days_if_that_failed()
    {
        await using var receiver = await Receiver.Open();
        await using var stripe = await Open(receiver);
        var id = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900))).Ok().Id;
        await stripe.AdvanceTo("2026-12-20T09:00:00Z");
        receiver.Status = HttpStatusCode.ServiceUnavailable;
        await stripe.AdvanceTo("2026-12-20T12:00:00Z");
        Assert.Equal("draft", (await stripe.Subscription(id)).Read("latest_invoice.status")!.GetValue<string>());
        // The next try is two hours after the fourth.
        receiver.Status = HttpStatusCode.OK;
        await stripe.AdvanceTo("2026-12-20T13:35:59Z");
        Assert.Equal("draft", (await stripe.Subscription(id)).Read("latest_invoice.status")!.GetValue<string>());
        await stripe.AdvanceTo("2026-12-20T13:36:00Z");
        Assert.Equal("paid", (await stripe.Subscription(id)).Read("latest_invoice.status")!.GetValue<string>());

        await stripe.AdvanceTo("2027-01-20T09:00:00Z");
        receiver.Status = HttpStatusCode.ServiceUnavailable;
        await stripe.AdvanceTo("2027-01-23T09:59:59Z");
        Assert.Equal("draft", (await stripe.Subscription(id)).Read("latest_invoice.status")!.GetValue<string>());
        await stripe.AdvanceTo("2027-01-23T10:00:00Z");
        Assert.Equal("paid", (await stripe.Subscription(id)).Read("latest_invoice.status")!.GetValue<string>());
    }

    [Fact]
    public async Task whoever_hears_of_a_draft_has_time_to_add_to_it_while_the_clock_goes_on()
    {
        await using var receiver = await Receiver.Open();
        SandboxClient? itself = null;
        var added = 0;
        async Task AddOverage()
        {
            foreach (var draft in receiver.Received.Select(r => JsonNode.Parse(r.Body)!).Where(e => e["type"]!.GetValue<string>() == "invoice.created").Skip(1 + added).ToList())
            {
                added++;
                (await itself!.Post("/v1/invoiceitems", $"customer={draft.Read("data.object.customer")}", $"invoice={draft.Read("data.object.id")}", "amount=125", "currency=usd")).Ok();
            }
        }
        await using var stripe = itself = await SandboxClient.Open(o => o with { WebhookUrl = receiver.Url, WebhookSecret = Secret, Settling = AddOverage });
        await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900));

        await stripe.AdvanceTo("2027-02-20T12:00:00Z");

        Assert.Equal([2900L, 3025L, 3025L, 3025L], stripe.Server.All("invoice").Select(i => i["amount_paid"]!.GetValue<long>()));
    }

    [Fact]
    public async Task what_was_asked_for_is_remembered_as_it_was_sent()
    {
        await using var stripe = await SandboxClient.Open();

        await stripe.PostWithKey("k", "/v1/customers", "name=Ada", "metadata[organization_id]=acme");

        var request = Assert.Single(stripe.Server.Requests);
        Assert.Equal(("POST", "/v1/customers", "k"), (request.Method, request.Path, request.IdempotencyKey));
        Assert.Equal(["name=Ada", "metadata[organization_id]=acme"], request.Parameters);
    }

    [Fact]
    public async Task an_endpoint_hears_only_what_it_asked_for_and_its_secret_is_told_once()
    {
        await using var receiver = await Receiver.Open();
        await using var stripe = await SandboxClient.Open();
        (await stripe.Post("/v1/webhook_endpoints", "url=https://elsewhere.example/hook", "enabled_events[]=*")).Refused(400, "url_invalid", "url");
        var made = (await stripe.Post("/v1/webhook_endpoints", $"url={receiver.Url}", "enabled_events[0]=price.created", "api_version=2026-07-29.dahlia")).Ok();

        await stripe.Price("pro-month", 2900);
        await stripe.Server.Settle();

        Assert.Equal(["price.created"], receiver.Types);
        Assert.Null(StripeSignature.Problem(receiver.Received.Single().Signature, receiver.Received.Single().Body, [made.Text("secret")!], receiver.Received.Single().SignedAt));
        Assert.Null((await stripe.Get($"/v1/webhook_endpoints/{made.Id}")).Ok()["secret"]);
    }

    [Fact]
    public async Task webhooks_are_lost_doubled_and_delayed_as_they_are_told_to_be_and_the_list_of_events_knows_all()
    {
        await using var receiver = await Receiver.Open();
        await using var stripe = await Open(receiver);
        stripe.Server.Misbehaviour.Lose = 1;
        await stripe.Customer();
        stripe.Server.Misbehaviour.Stop();
        stripe.Server.Misbehaviour.Duplicate = 1;
        await stripe.Customer();
        stripe.Server.Misbehaviour.Stop();
        stripe.Server.Misbehaviour.Delay = 1;
        await stripe.Customer();
        await stripe.Server.Settle();
        Assert.Equal(2, receiver.Received.Count);
        Assert.Single(receiver.Ids);
        await stripe.AdvanceTo("2026-11-20T16:00:00Z");

        Assert.Equal(3, receiver.Received.Count);
        var all = (await stripe.Get("/v1/events?types[]=customer.created")).Ok()["data"]!.AsArray();
        Assert.Equal(3, all.Count);
        var lost = (await stripe.Get("/v1/events?types[]=customer.created&delivery_success=false")).Ok();
        Assert.Equal(all[2]!["id"]!.GetValue<string>(), Assert.Single(lost["data"]!.AsArray())!["id"]!.GetValue<string>());
        stripe.Server.Resend(lost.Text("data.0.id")!);
        await stripe.Server.Settle();
        Assert.Equal(3, receiver.Ids.Count);
    }

    [Fact]
    public async Task the_same_seed_misbehaves_in_the_same_way()
    {
        async Task<IReadOnlyList<string>> Run(int seed)
        {
            await using var receiver = await Receiver.Open();
            await using var stripe = await Open(receiver, seed);
            (stripe.Server.Misbehaviour.Lose, stripe.Server.Misbehaviour.Duplicate, stripe.Server.Misbehaviour.Reorder) = (0.2, 0.2, 0.4);
            for (var i = 0; i < 20; i++) (await stripe.Post("/v1/customers", $"name={i}")).Ok();
            await stripe.AdvanceTo("2026-11-20T16:00:00Z");
            return [.. receiver.Received.Select(r => JsonNode.Parse(r.Body)!.Read("data.object.name")!.GetValue<string>())];
        }

        var first = await Run(7);

        Assert.Equal(first, await Run(7));
        Assert.NotEqual(first, await Run(8));
        Assert.NotEqual(first.Order(StringComparer.Ordinal), first);
        Assert.True(first.Distinct().Count() < 20 && first.Distinct().Count() < first.Count);
    }

    [Fact]
    public async Task events_are_kept_for_thirty_days()
    {
        await using var stripe = await SandboxClient.Open();
        await stripe.Customer();
        var id = stripe.Server.All("event")[0]["id"]!.GetValue<string>();
        (await stripe.Get($"/v1/events/{id}")).Ok();

        await stripe.AdvanceTo("2026-12-20T10:00:00Z");

        (await stripe.Get($"/v1/events/{id}")).Refused(404, "resource_missing");
        Assert.Empty((await stripe.Get("/v1/events")).Ok()["data"]!.AsArray());
    }

    private static Task<SandboxClient> Open(Receiver receiver, int seed = 1) => SandboxClient.Open(o => o with { WebhookUrl = receiver.Url, WebhookSecret = Secret, Seed = seed, SendsAtOnce = false });

    private sealed record Delivered(byte[] Body, string Signature)
    {
        public long SignedAt => long.Parse(Signature[2..Signature.IndexOf(',')]);
    }

    /// <summary>Takes every webhook, and answers what the test says.</summary>
    private sealed class Receiver : IAsyncDisposable
    {
        private readonly WebApplication app;

        private Receiver()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
            app = builder.Build();
            app.MapPost("/", (RequestDelegate)Take);
        }

        public ConcurrentQueue<Delivered> Received { get; } = [];

        public HttpStatusCode Status { get; set; } = HttpStatusCode.OK;

        public Uri Url => new(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());

        public IReadOnlyList<string> Types => [.. Received.Select(r => JsonNode.Parse(r.Body)!["type"]!.GetValue<string>())];

        public IReadOnlyCollection<string> Ids => [.. Received.Select(r => JsonNode.Parse(r.Body)!["id"]!.GetValue<string>()).Distinct()];

        public static async Task<Receiver> Open()
        {
            var receiver = new Receiver();
            await receiver.app.StartAsync();
            return receiver;
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();

        private async Task Take(HttpContext http)
        {
            using var body = new MemoryStream();
            await http.Request.Body.CopyToAsync(body);
            Received.Enqueue(new Delivered(body.ToArray(), http.Request.Headers["Stripe-Signature"].ToString()));
            http.Response.StatusCode = (int)Status;
        }
    }
}
