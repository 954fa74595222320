using Billing.StripeSandbox;

namespace Billing.Tests.StripeSandbox;

/// <summary>The rules of every request: parameters, keys, pages, expansion, errors.</summary>
public sealed class ApiRuleTests
{
    [Fact]
    public async Task a_parameter_that_stripe_does_not_know_is_refused_by_name()
    {
        await using var stripe = await SandboxClient.Open();

        (await stripe.Post("/v1/customers", "emial=a@b.c")).Refused(400, "parameter_unknown", "emial");
        (await stripe.Post("/v1/customers", "address[city]=x", "address[planet]=earth")).Refused(400, "parameter_unknown", "address[planet]");
        (await stripe.Post("/v1/checkout/sessions", "mode=payment", "success_url=https://a.b", "payment_method_types[0]=card")).Refused(400, "parameter_unknown", "payment_method_types");
        (await stripe.Post("/v1/subscriptions", "customer=cus_1", "items[0][price]=price_1", "items[0][plan]=x")).Refused(400, "parameter_unknown", "items[0][plan]");
        (await stripe.Get("/v1/customers?name=Ada")).Refused(400, "parameter_unknown", "name");
        Assert.Empty(stripe.Server.All("customer"));
    }

    [Fact]
    public async Task a_parameter_that_is_missing_empty_or_of_another_type_is_refused_by_name()
    {
        await using var stripe = await SandboxClient.Open();

        (await stripe.Post("/v1/prices", "unit_amount=1")).Refused(400, "parameter_missing", "currency");
        (await stripe.Post("/v1/subscriptions", "customer=cus_1", "items[0][quantity]=1", "pause_collection[behavior]=void")).Refused(400, "parameter_unknown", "pause_collection");
        (await stripe.Post("/v1/prices", "currency=")).Refused(400, "parameter_invalid_empty", "currency");
        (await stripe.Post("/v1/payment_intents", "amount=ten", "currency=usd")).Refused(400, "parameter_invalid_integer", "amount");
        (await stripe.Post("/v1/payment_intents", "amount=10", "currency=usd", "confirm=maybe")).Refused(400, null, "confirm");
        (await stripe.Post("/v1/checkout/sessions", "mode=gift", "success_url=https://a.b")).Refused(400, null, "mode");
        (await stripe.Get("/v1/customers?limit=101")).Refused(400, "parameter_invalid_integer", "limit");
    }

    [Fact]
    public async Task what_does_not_exist_is_404_and_says_which_parameter_named_it()
    {
        await using var stripe = await SandboxClient.Open();

        (await stripe.Get("/v1/customers/cus_none")).Refused(404, "resource_missing", "id");
        (await stripe.Post("/v1/payment_intents", "amount=10", "currency=usd", "customer=cus_none")).Refused(404, "resource_missing", "customer");
        (await stripe.Get("/v1/nothing")).Refused(404, null);
    }

    [Fact]
    public async Task only_the_right_key_and_the_pinned_version_are_let_in()
    {
        await using var stripe = await SandboxClient.Open();
        using var stranger = new HttpClient { BaseAddress = new Uri(stripe.Server.Url) };

        Assert.Equal(401, (int)(await stranger.GetAsync("/v1/customers")).StatusCode);
        stranger.DefaultRequestHeaders.TryAddWithoutValidation("Authorization", "Bearer sk_test_other");
        Assert.Equal(401, (int)(await stranger.GetAsync("/v1/customers")).StatusCode);
        stripe.Http.DefaultRequestHeaders.Add("Stripe-Version", "2020-08-27");
        (await stripe.Get("/v1/customers")).Refused(400, null);
    }

    [Fact]
    public async Task the_same_key_and_parameters_give_the_first_answer_again()
    {
        await using var stripe = await SandboxClient.Open();

        var first = (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c", "name=Ada")).Ok();
        var second = (await stripe.PostWithKey("k", "/v1/customers", "name=Ada", "email=a@b.c")).Ok();

        Assert.Equal(first.Json.ToJsonString(), second.Json.ToJsonString());
        Assert.Equal("true", second.Headers["Idempotent-Replayed"]);
        Assert.Single(stripe.Server.All("customer"));
    }

    [Fact]
    public async Task the_same_key_with_other_parameters_is_an_idempotency_error()
    {
        await using var stripe = await SandboxClient.Open();
        (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Ok();

        var reused = (await stripe.PostWithKey("k", "/v1/customers", "email=other@b.c")).Refused(400, null);

        Assert.Equal("idempotency_error", reused.Text("error.type"));
        Assert.Single(stripe.Server.All("customer"));
    }

    [Fact]
    public async Task a_key_that_is_in_use_is_409_and_then_its_answer()
    {
        await using var stripe = await SandboxClient.Open();
        Task<Reply> first;
        using (stripe.Server.Hold("/v1/customers"))
        {
            first = stripe.PostWithKey("k", "/v1/customers", "email=a@b.c");
            var second = stripe.PostWithKey("k", "/v1/customers", "email=a@b.c");
            // Whichever came first waits; the other one is refused at once.
            var refused = await Task.WhenAny(first, second);
            (await refused).Refused(409, "idempotency_key_in_use");
            if (refused == first) first = second;
        }

        (await first).Ok();
        Assert.Single(stripe.Server.All("customer"));
    }

    [Fact]
    public async Task a_request_that_was_refused_before_it_began_leaves_its_key_free_and_a_declined_card_does_not()
    {
        await using var stripe = await SandboxClient.Open();

        (await stripe.PostWithKey("k", "/v1/customers", "emial=a@b.c")).Refused(400, "parameter_unknown");
        (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Ok();
        string[] declined = ["amount=500", "currency=usd", "payment_method=pm_card_chargeDeclined", "confirm=true"];
        var first = (await stripe.PostWithKey("p", "/v1/payment_intents", declined)).Refused(402, "card_declined");
        var second = (await stripe.PostWithKey("p", "/v1/payment_intents", declined)).Refused(402, "card_declined");

        Assert.Equal(first.Text("error.payment_intent.id"), second.Text("error.payment_intent.id"));
        Assert.Single(stripe.Server.All("payment_intent"));
    }

    [Fact]
    public async Task a_key_is_forgotten_after_a_day()
    {
        await using var stripe = await SandboxClient.Open();
        var first = (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Ok();

        await stripe.AdvanceTo("2026-11-21T10:00:01Z");

        Assert.NotEqual(first.Id, (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Ok().Id);
    }

    [Fact]
    public async Task lists_page_newest_first_in_both_directions()
    {
        await using var stripe = await SandboxClient.Open();
        var made = new List<string>();
        for (var i = 0; i < 5; i++) made.Insert(0, (await stripe.Post("/v1/customers", $"name={i}")).Ok().Id);

        var first = (await stripe.Get("/v1/customers?limit=2")).Ok();
        var second = (await stripe.Get($"/v1/customers?limit=2&starting_after={made[1]}")).Ok();
        var last = (await stripe.Get($"/v1/customers?limit=2&starting_after={made[3]}")).Ok();
        var before = (await stripe.Get($"/v1/customers?limit=2&ending_before={made[4]}")).Ok();

        Assert.Equal((made[0..2], true), (Ids(first), first["has_more"]!.GetValue<bool>()), Same);
        Assert.Equal((made[2..4], true), (Ids(second), second["has_more"]!.GetValue<bool>()), Same);
        Assert.Equal((made[4..], false), (Ids(last), last["has_more"]!.GetValue<bool>()), Same);
        Assert.Equal((made[2..4], true), (Ids(before), before["has_more"]!.GetValue<bool>()), Same);
        (await stripe.Get("/v1/customers?starting_after=cus_none")).Refused(404, "resource_missing", "starting_after");
    }

    private static List<string> Ids(Reply list) => [.. list["data"]!.AsArray().Select(o => o!["id"]!.GetValue<string>())];

    private static bool Same((List<string> Ids, bool More) a, (List<string> Ids, bool More) b) => a.More == b.More && a.Ids.SequenceEqual(b.Ids);

    [Fact]
    public async Task references_are_expanded_where_it_is_asked_for_and_deleted_ones_say_so()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = await stripe.Customer("pm_card_visa");
        var subscription = (await stripe.Subscribe(customer, await stripe.Price("pro-month", 2900))).Ok();
        Assert.Equal("succeeded", subscription.Text("latest_invoice.payments.data.0.payment.payment_intent.status"));
        Assert.Equal("pro-month", (await stripe.Get($"/v1/subscriptions/{subscription.Id}?expand[0]=items.data.price.product")).Ok().Text("items.data.0.price.product.name"));
        Assert.Equal(customer, (await stripe.Get($"/v1/subscriptions?customer={customer}&expand[]=data.customer")).Ok().Text("data.0.customer.id"));

        (await stripe.Delete($"/v1/customers/{customer}")).Ok();

        var expanded = (await stripe.Get($"/v1/subscriptions/{subscription.Id}?expand[]=customer")).Ok();
        Assert.True(expanded["customer.deleted"]!.GetValue<bool>());
        Assert.Equal("canceled", expanded.Text("status"));
        (await stripe.Get($"/v1/subscriptions/{subscription.Id}?expand[]=status")).Refused(400, null, "expand");
    }

    [Fact]
    public async Task metadata_is_merged_and_an_empty_value_removes_its_key()
    {
        await using var stripe = await SandboxClient.Open();
        var customer = (await stripe.Post("/v1/customers", "metadata[a]=1", "metadata[b]=2")).Ok().Id;

        var updated = (await stripe.Post($"/v1/customers/{customer}", "metadata[b]=", "metadata[c]=3")).Ok();

        Assert.Equal("""{"a":"1","c":"3"}""", updated["metadata"]!.ToJsonString());
    }

    [Fact]
    public async Task a_lookup_key_belongs_to_one_price_until_it_is_transferred()
    {
        await using var stripe = await SandboxClient.Open();
        var old = await stripe.Price("pro-month", 2900);
        (await stripe.Post("/v1/prices", "currency=usd", "unit_amount=3900", "recurring[interval]=month", "lookup_key=pro-month", "product_data[name]=Pro")).Refused(400, "resource_already_exists", "lookup_key");
        (await stripe.Post($"/v1/prices/{old}", "unit_amount=1")).Refused(400, "parameter_unknown", "unit_amount");

        var now = (await stripe.Post("/v1/prices", "currency=usd", "unit_amount=3900", "recurring[interval]=month", "lookup_key=pro-month", "transfer_lookup_key=true", "product_data[name]=Pro")).Ok();
        (await stripe.Post($"/v1/prices/{old}", "active=false")).Ok();

        var found = (await stripe.Get("/v1/prices?lookup_keys[0]=pro-month&expand[0]=data.product")).Ok();
        Assert.Equal(now.Id, found.Text("data.0.id"));
        Assert.Single(found["data"]!.AsArray());
        Assert.Equal("Pro", found.Text("data.0.product.name"));
        Assert.Null((await stripe.Get($"/v1/prices/{old}")).Ok()["lookup_key"]);
        Assert.Single((await stripe.Get("/v1/prices")).Ok()["data"]!.AsArray());
    }

    [Fact]
    public async Task what_is_refused_changes_nothing()
    {
        await using var stripe = await SandboxClient.Open();
        var price = await stripe.Price("pro-month", 2900);
        var customer = await stripe.Customer("pm_card_visa");
        var subscription = (await stripe.Subscribe(customer, price)).Ok();
        var before = (stripe.Server.Find(subscription.Id)!.ToJsonString(), stripe.Server.All("invoice").Count, stripe.Events().Count);

        (await stripe.Post("/v1/customers", "payment_method=pm_card_chargeDeclined")).Refused(402, "card_declined");
        (await stripe.Post("/v1/prices", "currency=usd", $"product={stripe.Server.Find(price)!["product"]}", "lookup_key=pro-month", "transfer_lookup_key=true")).Refused(400, "parameter_missing");
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", "items[0][price]=price_none")).Refused(404, "resource_missing", "items[0][price]");
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", "items[0][quantity]=2", "proration_behavior=always_invoice", "discounts[0][coupon]=none")).Refused(404, "resource_missing");
        (await stripe.Post($"/v1/subscriptions/{subscription.Id}", $"items[0][id]={subscription.Text("items.data.0.id")}", "items[0][quantity]=2", "proration_date=1")).Refused(400, null, "proration_date");
        (await stripe.Subscribe(customer, price, "discounts[0][coupon]=none")).Refused(404, "resource_missing");

        Assert.Equal(before, (stripe.Server.Find(subscription.Id)!.ToJsonString(), stripe.Server.All("invoice").Count, stripe.Events().Count));
        Assert.Equal("pro-month", stripe.Server.Find(price)!["lookup_key"]!.GetValue<string>());
    }

    [Theory]
    [InlineData(Fault.RateLimit, 429)]
    [InlineData(Fault.ServerError, 500)]
    public async Task a_fault_before_the_work_does_nothing_and_leaves_the_key_free(Fault fault, int status)
    {
        await using var stripe = await SandboxClient.Open();
        stripe.Server.Misbehaviour.Next(fault, "POST /v1/customers");

        Assert.Equal(status, (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Status);

        Assert.Empty(stripe.Server.All("customer"));
        (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Ok();
    }

    [Theory]
    [InlineData(Fault.LostAnswer)]
    [InlineData(Fault.TimeOut)]
    public async Task an_answer_that_was_lost_after_the_work_is_given_again_for_the_same_key(Fault fault)
    {
        await using var stripe = await SandboxClient.Open();
        stripe.Server.Misbehaviour.Next(fault, "POST /v1/customers");
        using var impatient = new HttpClient { BaseAddress = new Uri(stripe.Server.Url), Timeout = TimeSpan.FromSeconds(1) };
        impatient.DefaultRequestHeaders.Authorization = stripe.Http.DefaultRequestHeaders.Authorization;
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v1/customers") { Content = new FormUrlEncodedContent([KeyValuePair.Create("email", "a@b.c")]) };
        request.Headers.Add("Idempotency-Key", "k");

        await Assert.ThrowsAnyAsync<Exception>(() => impatient.SendAsync(request));

        var again = (await stripe.PostWithKey("k", "/v1/customers", "email=a@b.c")).Ok();
        Assert.Equal("true", again.Headers["Idempotent-Replayed"]);
        Assert.Single(stripe.Server.All("customer"));
    }

    [Fact]
    public async Task everything_is_there_again_when_it_is_kept_in_a_file()
    {
        var file = Path.Combine(Directory.CreateTempSubdirectory("billing-").FullName, "stripe.json");
        string subscription;
        await using (var stripe = await SandboxClient.Open(o => o with { File = file }))
            subscription = (await stripe.Subscribe(await stripe.Customer("pm_card_visa"), await stripe.Price("pro-month", 2900))).Ok().Id;

        await using (var again = await SandboxClient.Open(o => o with { File = file, Seed = 2 }))
        {
            await again.AdvanceTo("2026-12-21T10:00:00Z");
            Assert.Equal("paid", (await again.Subscription(subscription)).Read("latest_invoice.status")!.GetValue<string>());
            Assert.Equal(2, again.Server.All("invoice").Count);
        }
        Directory.Delete(Path.GetDirectoryName(file)!, recursive: true);
    }
}
