using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Billing.Api;
using Billing.Api.Stripe;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using Billing.StripeSandbox;
using Microsoft.Extensions.Logging;
using NodaTime;

namespace Billing.Tests.Stripe;

/// <summary>The way to Stripe: nothing is done twice, whatever happens between asking and hearing.</summary>
public sealed class GatewayTests : IAsyncDisposable
{
    private readonly SettableClock clock = new(Instant.FromUtc(2026, 11, 20, 10, 0));
    private readonly string folder = Directory.CreateTempSubdirectory("billing-").FullName;
    private readonly List<IDisposable> opened = [];
    private SqliteDatabase? database;
    private SandboxServer? stripe;

    private SandboxServer Stripe => stripe!;

    private SentRequests Sent { get; set; } = null!;

    private async Task<StripeGateway> Open(Uri? address = null, TimeSpan? timeout = null, string key = "sk_test_sandbox")
    {
        stripe ??= await SandboxServer.Start(new SandboxOptions { Time = clock, SetTime = t => clock.Now = Instant.FromDateTimeOffset(t), Seed = 1 });
        database ??= SqliteDatabase.Open(Path.Combine(folder, "ledger.db"));
        Sent = new SentRequests(database);
        var gateway = new StripeGateway(address ?? new Uri(stripe.Url), key, timeout ?? TimeSpan.FromSeconds(30), TimeSpan.FromMilliseconds(1), Sent, new Clock(clock));
        opened.Add(gateway);
        return gateway;
    }

    private static StripeRequest Customer(string name = "Ada", string key = "customer:acme:1") => StripeRequest.Post("/v1/customers", key, "acme", new() { { "name", name } });

    private static StripeRequest Charge(string method, string key = "charge") => StripeRequest.Post("/v1/payment_intents", key, "acme", new()
    {
        { "amount", 500 }, { "currency", "usd" }, { "payment_method", method }, { "confirm", true },
    });

    [Fact]
    public async Task a_request_is_stored_before_it_is_sent_and_its_answer_after()
    {
        var gateway = await Open();
        Task<JsonElement> asking;
        using (Stripe.Hold("/v1/customers"))
        {
            asking = gateway.Send(Customer());
            while (Stripe.Requests.Count == 0 && !asking.IsCompleted && await Sent.Find("customer:acme:1") is null) await Task.Yield();
            var before = await Sent.Find("customer:acme:1");
            Assert.Equal(("acme", "/v1/customers", "name=Ada", (int?)null), (before!.Organization, before.Path, Encoding.ASCII.GetString(before.Form!), before.Status));
        }

        var made = await asking;

        var after = await Sent.Find("customer:acme:1");
        Assert.Equal((200, made.Text("id")), (after!.Status!.Value, after.Object));
    }

    [Theory]
    [InlineData(Fault.LostAnswer)]
    [InlineData(Fault.ServerError)]
    [InlineData(Fault.RateLimit)]
    [InlineData(Fault.TimeOut)]
    public async Task what_goes_wrong_on_the_way_is_tried_again_and_done_once(Fault fault)
    {
        var gateway = await Open(timeout: fault == Fault.TimeOut ? TimeSpan.FromMilliseconds(300) : null);
        Stripe.Misbehaviour.Next(fault, "POST /v1/customers");
        Stripe.Misbehaviour.Next(fault, "POST /v1/customers");

        var made = await gateway.Send(Customer());

        Assert.Equal("Ada", made.Text("name"));
        Assert.Single(Stripe.All("customer"));
    }

    [Fact]
    public async Task a_stripe_that_never_answers_is_asked_a_few_times_and_the_same_key_does_it_once_later()
    {
        var gateway = await Open();
        Stripe.Misbehaviour.LostAnswers = 1;

        var failed = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));
        Stripe.Misbehaviour.Stop();
        Assert.Equal(("no_answer", true), (failed.Code, failed.IsPassing));
        Assert.Null((await Sent.Find("customer:acme:1"))!.Status);

        // Whatever is wanted by now: under this key it is what it was.
        var made = await gateway.Send(Customer("Grace"));
        Assert.Equal("Ada", made.Text("name"));
        Assert.Single(Stripe.All("customer"));
    }

    [Fact]
    public async Task what_stripe_refuses_before_it_begins_leaves_the_key_free()
    {
        var gateway = await Open();

        var refused = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(StripeRequest.Post("/v1/customers", "k", null, new() { { "emial", "a@b.c" } })));

        Assert.Equal((400, "parameter_unknown", "emial", false), (refused.Status!.Value, refused.Code, refused.Param, refused.IsPassing));
        Assert.NotNull(refused.RequestId);
        Assert.Single(Stripe.Requests);
        Assert.Equal("Ada", (await gateway.Send(Customer(key: "k"))).Text("name"));
    }

    [Fact]
    public async Task a_declined_payment_stays_declined_under_its_key()
    {
        var gateway = await Open();
        var declined = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Charge("pm_card_chargeDeclined")));
        Assert.Equal((true, "generic_decline"), (declined.IsDeclined, declined.DeclineCode));
        // The error has the whole payment with its secret, and the card.
        Assert.Contains("client_secret", declined.Error.GetRawText());
        Assert.DoesNotContain("secret", (await Sent.Find("charge"))!.Error);
        Assert.DoesNotContain("0002", (await Sent.Find("charge"))!.Error);

        clock.Advance(Duration.FromDays(3));

        var again = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Charge("pm_card_visa")));
        Assert.Equal((true, "generic_decline", declined.Message), (again.IsDeclined, again.DeclineCode, again.Message));
        Assert.Single(Stripe.All("payment_intent"));
    }

    [Fact]
    public async Task days_later_a_key_still_answers_what_it_made()
    {
        var gateway = await Open();
        var made = await gateway.Send(Customer());
        clock.Advance(Duration.FromDays(3));
        await Sent.RemoveOldForms(new Clock(clock).Now());

        Assert.Equal(made.Text("id"), (await gateway.Send(Customer())).Text("id"));
        Assert.Single(Stripe.All("customer"));
        Assert.Null((await Sent.Find("customer:acme:1"))!.Form);
    }

    [Fact]
    public async Task days_later_a_request_of_which_no_answer_is_known_is_looked_up_before_anything_else()
    {
        var gateway = await Open();
        Stripe.Misbehaviour.LostAnswers = 1;
        await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));
        Stripe.Misbehaviour.Stop();
        clock.Advance(Duration.FromDays(3));

        var unknown = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));
        Assert.Equal("outcome_unknown", unknown.Code);
        var found = await gateway.Send(Customer() with { Find = async s => await s.List(StripeRequest.Get("/v1/customers")).FirstAsync() });

        Assert.Equal(Stripe.All("customer").Single()["id"]!.GetValue<string>(), found.Text("id"));
        Assert.Equal(found.Text("id"), (await gateway.Send(Customer())).Text("id"));
    }

    [Fact]
    public async Task days_later_a_request_that_did_nothing_is_sent_once_more()
    {
        var gateway = await Open();
        for (var i = 0; i < StripeGateway.MaxTries; i++) Stripe.Misbehaviour.Next(Fault.RateLimit, "POST /v1/customers");
        await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));
        clock.Advance(Duration.FromDays(3));

        var made = await gateway.Send(Customer() with { Find = async s => await s.List(StripeRequest.Get("/v1/customers")).FirstOrDefaultAsync() is { ValueKind: JsonValueKind.Object } c ? c : null });

        Assert.Equal("Ada", made.Text("name"));
        Assert.Single(Stripe.All("customer"));
    }

    [Fact]
    public async Task one_key_is_for_one_thing()
    {
        var gateway = await Open();
        await gateway.Send(Customer(key: "k"));

        var reused = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Charge("pm_card_visa", "k")));

        Assert.Equal("idempotency_error", reused.Code);
        Assert.Empty(Stripe.All("payment_intent"));
    }

    [Fact]
    public async Task many_at_once_under_one_key_make_one()
    {
        var gateway = await Open();

        var made = await Task.WhenAll(Enumerable.Range(0, 20).Select(i => gateway.Send(Customer($"Ada {i}"))));

        Assert.Single(made.Select(m => m.Text("id")).Distinct());
        Assert.Single(Stripe.All("customer"));
    }

    [Fact]
    public async Task a_list_is_read_to_its_end_page_by_page()
    {
        var gateway = await Open();
        for (var i = 0; i < 230; i++) await gateway.Send(Customer($"{i}", $"c{i}"));

        var names = await gateway.List(StripeRequest.Get("/v1/customers", new() { { "created[gte]", 0 } })).Select(c => c.Text("name")).ToListAsync();

        Assert.Equal(Enumerable.Range(0, 230).Reverse().Select(i => $"{i}"), names);
    }

    [Fact]
    public async Task what_does_not_exist_is_null_to_those_who_ask_whether_it_does()
    {
        var gateway = await Open();

        Assert.Null(await gateway.Find(StripeRequests.Customer("cus_none")));
    }

    /// <summary>What another Stripe would have to hear and say, byte by byte.</summary>
    [Fact]
    public async Task a_post_is_a_form_with_the_key_the_version_and_the_bearer()
    {
        await using var wire = new Wire("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"id\":\"x_1\"}");
        var gateway = await Open(wire.Address, key: "sk_test_secret");

        await gateway.Send(StripeRequest.Post("/v1/things", "the-key", null, new()
        {
            { "items[0][price]", "price_1" }, { "name", "Ünïcode & =" }, { "cancel_at", "" }, { "confirm", true }, { "left_out", (string?)null }, { "trial_end", Instant.FromUnixTimeSeconds(1_700_000_000) },
        }));

        var heard = wire.Heard.Single();
        Assert.StartsWith("POST /v1/things HTTP/1.1\r\n", heard);
        Assert.Contains("Authorization: Bearer sk_test_secret\r\n", heard);
        Assert.Contains("Stripe-Version: 2026-07-29.dahlia\r\n", heard);
        Assert.Contains("Idempotency-Key: the-key\r\n", heard);
        Assert.Contains("Content-Type: application/x-www-form-urlencoded\r\n", heard);
        Assert.EndsWith("\r\n\r\nitems[0][price]=price_1&name=%C3%9Cn%C3%AFcode%20%26%20%3D&cancel_at=&confirm=true&trial_end=1700000000", heard);
    }

    [Theory]
    [InlineData(409, "", 5)]
    [InlineData(500, "", 5)]
    [InlineData(429, "", 5)]
    [InlineData(500, "Stripe-Should-Retry: false\r\n", 1)]
    [InlineData(409, "Stripe-Should-Retry: false\r\n", 1)]
    [InlineData(400, "Stripe-Should-Retry: true\r\n", 5)]
    [InlineData(400, "", 1)]
    [InlineData(402, "", 1)]
    [InlineData(404, "", 1)]
    public async Task tried_again_is_what_stripe_says_may_be(int status, string header, int tries)
    {
        const string Error = """{"error":{"type":"invalid_request_error","message":"No."}}""";
        await using var wire = new Wire($"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{header}Request-Id: req_7\r\nContent-Length: {Error.Length}\r\n\r\n{Error}");
        var gateway = await Open(wire.Address);

        var refused = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));

        Assert.Equal(tries, wire.Heard.Count);
        Assert.Equal((status, "req_7", "No."), (refused.Status!.Value, refused.RequestId, refused.Message));
    }

    [Fact]
    public async Task an_answer_that_is_not_stripes_is_no_answer()
    {
        await using var wire = new Wire("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>");
        var gateway = await Open(wire.Address);

        var refused = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));

        Assert.True(refused.IsPassing);
        Assert.Null((await Sent.Find("customer:acme:1"))!.Status);
    }

    [Fact]
    public async Task the_secret_key_is_in_no_log_and_no_message()
    {
        await using var wire = new Wire("HTTP/1.1 401 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
        var gateway = await Open(wire.Address, key: "sk_test_verysecret");
        var log = new Lines();
        gateway.Log = log;

        var refused = await Assert.ThrowsAsync<StripeException>(() => gateway.Send(Customer()));

        Assert.NotEmpty(log.Written);
        Assert.All([.. log.Written, refused.ToString()], line => Assert.DoesNotContain("verysecret", line));
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var one in opened) one.Dispose();
        if (stripe is not null) await stripe.DisposeAsync();
        if (database is not null) await database.DisposeAsync();
        Directory.Delete(folder, recursive: true);
    }

    private sealed class Lines : ILogger
    {
        public List<string> Written { get; } = [];

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Written.Add(formatter(state, exception));
    }

    /// <summary>Answers every request the same, and keeps what it heard.</summary>
    private sealed class Wire : IAsyncDisposable
    {
        private readonly TcpListener listener = new(IPAddress.Loopback, 0);
        private readonly Task running;

        public Wire(string answer)
        {
            listener.Start();
            running = Run(answer);
        }

        public Uri Address => new($"http://{listener.LocalEndpoint}");

        public List<string> Heard { get; } = [];

        public async ValueTask DisposeAsync()
        {
            listener.Stop();
            await running;
        }

        private async Task Run(string answer)
        {
            try
            {
                while (true)
                {
                    using var tcp = await listener.AcceptTcpClientAsync();
                    await using var stream = tcp.GetStream();
                    var buffer = new byte[16_384];
                    var read = 0;
                    string heard;
                    do
                    {
                        read += await stream.ReadAsync(buffer.AsMemory(read));
                        heard = Encoding.ASCII.GetString(buffer, 0, read);
                    }
                    while (!IsWhole(heard));
                    Heard.Add(heard);
                    await stream.WriteAsync(Encoding.ASCII.GetBytes(answer.Replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n", StringComparison.Ordinal)));
                }
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // Stopped.
            }
        }

        private static bool IsWhole(string heard)
        {
            var end = heard.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            if (end < 0) return false;
            var length = heard.Split("\r\n").FirstOrDefault(l => l.StartsWith("Content-Length: ", StringComparison.OrdinalIgnoreCase));
            return length is null || heard.Length - end - 4 >= int.Parse(length[16..]);
        }
    }
}
