using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Billing.Api;
using Billing.Api.Stripe;
using Billing.Grains;
using Billing.Silo;
using Billing.Silo.Storage.Postgres;
using Billing.StripeSandbox;
using Billing.Tests.Postgres;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using NodaTime;
using NodaTime.Text;

namespace Billing.Tests.Api;

/// <summary>
/// The real service in this process: Kestrel on a free port of loopback, the journal in a SQLite file of its own, and a
/// clock that the test moves. Spoken to over HTTP only.
/// </summary>
public sealed partial class TestApi : IAsyncDisposable
{
    public const string WebhookSecret = "whsec_test_secret";

    /// <summary>Set to 1, all tests that start a service keep its journal in PostgreSQL.</summary>
    private const string OnPostgres = "BILLING_TEST_ON_POSTGRES";

    private static readonly Lazy<string> Migrated = new(() =>
    {
        var name = PostgresServer.Shared.CreateDatabase();
        PostgresDatabase.Open(PostgresServer.Shared.ConnectionString(name)).DisposeAsync().AsTask().GetAwaiter().GetResult();
        return name;
    });

    /// <summary>The addresses of journals that are in PostgreSQL, by the folders that stand for them.</summary>
    private static readonly ConcurrentDictionary<string, string> Databases = [];

    private static int keys;

    private readonly WebApplication app;
    private readonly string folder;
    private readonly string catalog;
    private readonly string[] args;
    /// <summary>The one of those started one after the other that runs.</summary>
    private StrongBox<TestApi?>? latest;
    private SandboxServer? sandbox;
    private bool keepsFolder;
    private bool handedOn;
    private bool disposed;

    private TestApi(WebApplication app, SettableClock clock, string catalog, string folder, bool keepsFolder, string[] args)
    {
        this.args = args;
        this.app = app;
        this.catalog = catalog;
        this.folder = folder;
        this.keepsFolder = keepsFolder;
        Clock = clock;
        Url = app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();
        Http = Client(Settings.DevelopmentKey);
        Anonymous = Client(null);
    }

    public SettableClock Clock { get; }

    public string Url { get; }

    /// <summary>With the operator's key.</summary>
    public HttpClient Http { get; }

    /// <summary>Without a key.</summary>
    public HttpClient Anonymous { get; }

    public string Folder => folder;

    public Services Services => app.Services.GetRequiredService<Services>();

    /// <summary>The organizations in its memory, whichever engine runs them.</summary>
    public LedgerHost Residents => app.Services.GetService<LedgerHost>() ?? (LedgerHost)Services.Host;

    /// <param name="catalog">The name of a sample catalog, a path, or the catalog's JSON itself.</param>
    /// <param name="at">What the clock says, such as <c>2026-11-20T10:00:00Z</c>.</param>
    /// <param name="folder">Where the journal is, to start again on an older one; then it is not removed at the end.</param>
    public static Task<TestApi> Start(string catalog, string at = "2026-11-20T10:00:00Z", string? folder = null, params string[] args) =>
        StartAt(catalog, new SettableClock(Time(at)), folder ?? NewFolder(Environment.GetEnvironmentVariable(OnPostgres) == "1"), folder is not null, args);

    private static async Task<TestApi> StartAt(string catalog, SettableClock clock, string folder, bool keepsFolder, string[] given)
    {
        var args = given;
        if (Databases.TryGetValue(folder, out var database)) args = [$"--ConnectionStrings:Ledger={database}", "--Billing:JournalTimeoutMilliseconds=60000", "--Cluster:Address=127.0.0.1", "--Cluster:SiloPort=0", "--Cluster:GatewayPort=0", .. args];
        if (catalog.StartsWith('{'))
        {
            var json = catalog;
            catalog = Path.Combine(folder, "catalog.json");
            await File.WriteAllTextAsync(catalog, json);
        }
        var app = await Program.Build(
            [
                "--environment=Development", "--urls=http://127.0.0.1:0", "--Billing:DueWork=off", "--Logging:LogLevel:Default=Warning", "--Billing:StripeSandbox=off", "--Billing:StripeRetryMilliseconds=1", "--Billing:ReconcileHour=-1",
                $"--STRIPE_WEBHOOK_SECRET={WebhookSecret},whsec_old_secret",
                $"--Billing:Catalog={(File.Exists(catalog) ? catalog : Repository.Catalog(catalog))}", $"--Billing:Journal={Path.Combine(folder, "ledger.db")}", .. args,
            ], clock);
        await app.StartAsync();
        return new TestApi(app, clock, catalog, folder, keepsFolder, given);
    }

    /// <summary>As <see cref="Start"/>, with the journal in a PostgreSQL database of its own.</summary>
    public static async Task<TestApi> StartOnPostgres(string catalog, string at = "2026-11-20T10:00:00Z")
    {
        var api = await Start(catalog, at, NewFolder(onPostgres: true));
        api.keepsFolder = false;
        return api;
    }

    private static string NewFolder(bool onPostgres)
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        if (onPostgres) Databases[folder] = PostgresServer.Shared.ConnectionString(PostgresServer.Shared.CreateDatabase(Migrated.Value));
        return folder;
    }

    /// <summary>As <see cref="Start"/>, beside a Stripe that has the catalog's products and prices, goes by this service's clock and delivers to its webhook when <see cref="Settle"/> says so.</summary>
    public static async Task<TestApi> StartWithStripe(string catalog, string at = "2026-11-20T10:00:00Z", int? seed = null, params string[] args)
    {
        var latest = new StrongBox<TestApi?>();
        var clock = new SettableClock(Time(at));
        var sandbox = await SandboxServer.Start(new SandboxOptions
        {
            Time = clock, SetTime = time => clock.Now = Instant.FromDateTimeOffset(time), SendsAtOnce = false, Seed = seed,
            // Restarted, it is another service at the same address.
            Settling = () => latest.Value!.app.Services.GetRequiredService<StripeWork>().RunIfWoken(),
        });
        var api = await StartAt(catalog, clock, NewFolder(Environment.GetEnvironmentVariable(OnPostgres) == "1"), false,
            [$"--STRIPE_SECRET_KEY={sandbox.ApiKey}", $"--Billing:StripeUrl={sandbox.Url}", "--FRONTEND_URL=https://app.example.com", .. args]);
        (api.sandbox, api.latest, latest.Value) = (sandbox, latest, api);
        // Before it delivers: nobody waits for webhooks about products.
        (await api.Post("/v1/catalog/push")).Expect(200);
        sandbox.DeliverTo(new Uri(new Uri(api.Url), "/webhooks/stripe"), WebhookSecret);
        return api;
    }

    /// <summary>Stops this service and starts another on the same journal, with the clock where it stands.</summary>
    /// <param name="newCatalog">As for <see cref="Start"/>; the same one without it.</param>
    /// <param name="move">What happens while none runs: it gives the address of the PostgreSQL database that the journal is in from then on.</param>
    public async Task<TestApi> Restart(string? newCatalog = null, Func<Task<string>>? move = null)
    {
        // The folder goes over to the one that follows.
        var handsOver = !keepsFolder;
        keepsFolder = true;
        handedOn = true;
        await DisposeAsync();
        if (move is not null) Databases[folder] = await move();
        // At the same address, where Stripe delivers to.
        var next = await StartAt(newCatalog ?? catalog, Clock, folder, !handsOver, [.. args.Where(a => !a.StartsWith("--urls=", StringComparison.Ordinal)), .. sandbox is null ? [] : (string[])[$"--urls={Url}"]]);
        (next.sandbox, next.latest) = (sandbox, latest);
        if (latest is not null) latest.Value = next;
        return next;
    }

    [GeneratedRegex(@"\{\w+\}")]
    private static partial Regex Placeholder();

    public static Instant Time(string text) => OffsetDateTimePattern.Rfc3339.Parse(text).GetValueOrThrow().ToInstant();

    public HttpClient Client(string? key)
    {
        var client = new HttpClient { BaseAddress = new Uri(Url) };
        if (key is not null) client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
        return client;
    }

    /// <summary>Runs what a timer would: windows that ended, tokens that expired.</summary>
    public Task<int> RunDueWork() => (latest?.Value ?? this).app.Services.GetRequiredService<DueWork>().RunOnce();

    /// <summary>The Stripe that it was started beside.</summary>
    public SandboxServer Sandbox => sandbox ?? throw new InvalidOperationException("Start it with StartWithStripe.");

    /// <summary>Stripe delivers every webhook that is due, and the service does what comes of them, until nothing more happens.</summary>
    public async Task Settle()
    {
        for (var before = -1; before != Sandbox.All("event").Count;)
        {
            before = Sandbox.All("event").Count;
            await Sandbox.Settle();
            await RunStripeWork();
        }
    }

    /// <summary>Time goes on: everything that falls due at Stripe and here happens in order.</summary>
    public async Task AdvanceTo(string time)
    {
        await Sandbox.AdvanceTo(Time(time).ToDateTimeOffset());
        await RunDueWork();
        await RunStripeWork();
    }

    /// <summary>Runs what a timer would: everything that speaks to Stripe by itself.</summary>
    public Task RunStripeWork() => (latest?.Value ?? this).app.Services.GetRequiredService<StripeWork>().RunUntilDone();

    // ---- speaking HTTP

    public async Task<Answer> Send(HttpMethod method, string path, object? body = null, string? key = null, HttpClient? by = null)
    {
        using var request = new HttpRequestMessage(method, path);
        if (WithReason(method, path, body as string ?? (body is null ? null : JsonSerializer.Serialize(body))) is { } json) request.Content = new StringContent(json, Encoding.UTF8, "application/json");
        if (key is not null) request.Headers.TryAddWithoutValidation("Idempotency-Key", key);
        return await Send(request, by);
    }

    /// <summary>What operators must say why they do it is done here for a reason, unless the test says its own.</summary>
    public static string? WithReason(HttpMethod method, string path, string? json)
    {
        if (!AsksWhy().IsMatch($"{method} {path.Split('?')[0]}")) return json;
        var text = json ?? "{}";
        var isPlanGiven = text.Contains("\"plan\"", StringComparison.Ordinal) && !text.Contains("\"interval\"", StringComparison.Ordinal) && !text.Contains("\"billing_period\"", StringComparison.Ordinal);
        if (!text.StartsWith('{') || text.Contains("\"reason\"", StringComparison.Ordinal) || (path.EndsWith("/subscription", StringComparison.Ordinal) && !isPlanGiven)) return json;
        var rest = text[1..].TrimStart();
        return $$"""{"reason":"a test"{{(rest.StartsWith('}') ? "" : ",")}}{{rest}}""";
    }

    [GeneratedRegex("^(POST .*/(tokens/grants|usage/[^/]+/(void|correct)|credits|invoices/[^/]+/(void|uncollectible)|reconcile)|(PUT|DELETE) .*/overrides/[^/]+|PUT .*/subscription)$")]
    private static partial Regex AsksWhy();

    public async Task<Answer> Send(HttpRequestMessage request, HttpClient? by = null)
    {
        using var response = await (by ?? Http).SendAsync(request);
        return Answer.Of((int)response.StatusCode, await response.Content.ReadAsStringAsync(),
            response.Headers.Concat(response.Content.Headers).Select(h => (h.Key, string.Join(",", h.Value))));
    }

    /// <summary>Exactly these lines, for what HttpClient would not send. In HTTP/1.0, because its answers come in one piece.</summary>
    /// <param name="lines">The request line without its version, then headers.</param>
    public async Task<Answer> Raw(string body, params string[] lines)
    {
        using var tcp = new TcpClient();
        await tcp.ConnectAsync("127.0.0.1", new Uri(Url).Port);
        await using var stream = tcp.GetStream();
        string[] head = [$"{lines[0]} HTTP/1.0", $"Host: {new Uri(Url).Authority}", .. lines[1..], $"Content-Length: {Encoding.UTF8.GetByteCount(body)}", "", body];
        await stream.WriteAsync(Encoding.UTF8.GetBytes(string.Join("\r\n", head)));
        var answer = await new StreamReader(stream, Encoding.UTF8).ReadToEndAsync();
        var end = answer.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        var received = answer[..end].Split("\r\n");
        return Answer.Of(int.Parse(received[0].Split(' ')[1]), answer[(end + 4)..], received[1..].Select(h => (h[..h.IndexOf(':')], h[(h.IndexOf(':') + 1)..].Trim())));
    }

    public Task<Answer> Get(string path, HttpClient? by = null) => Send(HttpMethod.Get, path, by: by);

    /// <param name="key">The Idempotency-Key; a new one without it.</param>
    public Task<Answer> Post(string path, object? body = null, string? key = null, HttpClient? by = null) =>
        Send(HttpMethod.Post, path, body ?? "{}", key ?? NewKey(), by);

    public Task<Answer> Put(string path, object body, string? key = null, HttpClient? by = null) => Send(HttpMethod.Put, path, body, key, by);

    /// <summary>All of a list, page by page.</summary>
    public async Task<IReadOnlyList<JsonNode>> List(string path, HttpClient? by = null)
    {
        var items = new List<JsonNode>();
        for (string? cursor = null; ;)
        {
            var page = (await Get(cursor is null ? path : $"{path}{(path.Contains('?') ? '&' : '?')}cursor={cursor}", by)).Expect(200);
            items.AddRange(page["items"]!.AsArray()!);
            if ((cursor = page.String("next_cursor")) is null) return items;
        }
    }

    /// <summary>The organization's events of one type, as the ledger's route shows them.</summary>
    public Task<IReadOnlyList<JsonNode>> Ledger(string organization, string type) => List($"/v1/organizations/{organization}/ledger?type={type}");

    /// <summary>Every route of the API's own document that begins so, with its placeholders filled in.</summary>
    public async Task<IReadOnlyList<(HttpMethod Method, string Path)>> Routes(string start, string organization = "acme")
    {
        var document = (await Get("/openapi/v1.json")).Expect(200);
        return [.. document["paths"]!.AsObject().Where(p => p.Key.StartsWith(start, StringComparison.Ordinal)).SelectMany(p => p.Value!.AsObject().Select(o =>
            (new HttpMethod(o.Key.ToUpperInvariant()), Placeholder().Replace(p.Key, m => m.Value == "{organization}" ? organization : "projects"))))];
    }

    public static string NewKey() => $"key-{Interlocked.Increment(ref keys)}";

    // ---- what tests say often

    public async Task Open(string organization, string? plan = null, string? timeZone = null)
    {
        var answer = await Post("/v1/organizations", new { id = organization, plan, time_zone = timeZone });
        Assert.True(answer.Status == 201, answer.Text);
        // What Stripe said of it before.
        await RunStripeWork();
    }

    public Task<Answer> Use(string organization, string feature, decimal quantity = 1, string? key = null, object? metadata = null, HttpClient? by = null) =>
        Post($"/v1/organizations/{organization}/usage", new { feature, quantity, metadata }, key, by);

    public Task<Answer> Check(string organization, string feature, decimal? quantity = null) =>
        Get($"/v1/organizations/{organization}/entitlements/{feature}" + (quantity is null ? "" : $"?quantity={quantity}"));

    public async Task Grant(string organization, long tokens)
    {
        var answer = await Post($"/v1/organizations/{organization}/tokens/grants", new { tokens });
        Assert.True(answer.Status == 201, answer.Text);
    }

    /// <summary>A client with a key for this organization alone.</summary>
    public async Task<HttpClient> ClientOf(string organization)
    {
        var made = (await Post("/v1/api-keys", new { name = organization, organization })).Expect(201);
        return Client(made.String("key"));
    }

    /// <summary>The plan in force and what is behind it.</summary>
    public async Task<Answer> Subscription(string organization) => (await Get($"/v1/organizations/{organization}/subscription")).Expect(200);

    public async Task SetPlan(string organization, string plan)
    {
        var answer = await Put($"/v1/organizations/{organization}/subscription", new { plan });
        Assert.True(answer.Status == 200, answer.Text);
    }

    /// <summary>The books and the chain, as the service itself sees them.</summary>
    public async Task VerifyLedger(string organization)
    {
        var answer = await Get($"/v1/organizations/{organization}/ledger/verify");
        Assert.True(answer.Status == 200 && answer["ok"]!.GetValue<bool>(), answer.Text);
    }

    // ---- Stripe

    /// <summary>Stripe says that this happened now.</summary>
    /// <returns>The event, to be sent again.</returns>
    public async Task<JsonObject> Stripe(string type, JsonObject data)
    {
        var e = StripeFixture.Event(type, data, Clock.Now);
        (await Webhook(e)).Expect(200);
        return e;
    }

    /// <summary>The organization subscribes at Stripe: the price's lookup key, from now to <paramref name="until"/>.</summary>
    /// <returns>The subscription, to be changed.</returns>
    public async Task<JsonObject> Subscribe(string organization, string price, string until)
    {
        var subscription = StripeFixture.Subscription(
            StripeFixture.NewId("sub"), $"cus_{organization}", price, "active", Clock.Now, Clock.Now, Time(until), organization);
        await Stripe("customer.subscription.created", subscription);
        return subscription;
    }

    /// <summary>Sends an event as Stripe would: signed now with the endpoint's secret.</summary>
    public Task<Answer> Webhook(JsonObject e) => Webhook(Encoding.UTF8.GetBytes(e.ToJsonString()));

    public async Task<Answer> Webhook(byte[] body, string? signature = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/webhooks/stripe") { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Headers.TryAddWithoutValidation("Stripe-Signature", signature ?? Sign(body, Clock.Now.ToUnixTimeSeconds()));
        var answer = await Send(request, Anonymous);
        // What is stored is applied by workers, which here run when a test says so: after every webhook that was taken.
        if (answer.Status == 200) await RunStripeWork();
        return answer;
    }

    /// <summary>As <see cref="Webhook(JsonObject)"/>; it is stored, and nobody looks at it yet.</summary>
    public async Task<Answer> Deliver(JsonObject e)
    {
        var body = Encoding.UTF8.GetBytes(e.ToJsonString());
        using var request = new HttpRequestMessage(HttpMethod.Post, "/webhooks/stripe") { Content = new ByteArrayContent(body) };
        request.Headers.TryAddWithoutValidation("Stripe-Signature", Sign(body, Clock.Now.ToUnixTimeSeconds()));
        return await Send(request, Anonymous);
    }

    public static string Sign(byte[] body, long time, string secret = WebhookSecret)
    {
        var signed = HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), (byte[])[.. Encoding.UTF8.GetBytes($"{time}."), .. body]);
        return $"t={time},v1={Convert.ToHexStringLower(signed)}";
    }

    public async ValueTask DisposeAsync()
    {
        if (disposed) return;
        disposed = true;
        Http.Dispose();
        Anonymous.Dispose();
        await app.StopAsync();
        await app.DisposeAsync();
        if (sandbox is not null && !handedOn) await sandbox.DisposeAsync();
        if (!keepsFolder) Directory.Delete(folder, recursive: true);
    }
}

/// <summary>An HTTP answer with its JSON.</summary>
public sealed record Answer(int Status, JsonNode Json, string Text, Dictionary<string, string> Headers)
{
    public static Answer Of(int status, string text, IEnumerable<(string Name, string Value)> headers)
    {
        var named = headers.ToDictionary(h => h.Name, h => h.Value, StringComparer.OrdinalIgnoreCase);
        var isJson = named.GetValueOrDefault("Content-Type")?.Split(';')[0] is "application/json" or "application/problem+json";
        return new Answer(status, (isJson ? JsonNode.Parse(text) : null) ?? new JsonObject(), text, named);
    }

    public JsonNode? this[string name] => Json[name];

    public string? Code => Json["code"]?.GetValue<string>();

    /// <summary>The value at a path such as <c>denial.upgrade_to</c>.</summary>
    public JsonNode? At(string path) => path.Split('.').Aggregate<string, JsonNode?>(Json, (node, name) => int.TryParse(name, out var index) ? node?[index] : node?[name]);

    public decimal Number(string path) => At(path)!.GetValue<decimal>();

    public string? String(string path) => At(path)?.GetValue<string>();

    public bool True(string path) => At(path)!.GetValue<bool>();

    public Answer Expect(int status)
    {
        Assert.True(Status == status, $"Expected {status}, got {Status}: {Text}");
        return this;
    }

    /// <summary>A problem as RFC 9457 and our rules want it: its code, its sentence, and nothing of the inside of the service.</summary>
    /// <param name="sentence">A part of the detail.</param>
    public Answer ExpectProblem(int status, string code, string sentence, string? field = null)
    {
        Expect(status);
        Assert.Equal("application/problem+json", Headers["Content-Type"]);
        Assert.EndsWith($"/problems/{code}", String("type"), StringComparison.Ordinal);
        Assert.NotEmpty(String("title")!);
        Assert.Equal(status, Number("status"));
        Assert.Equal(code, Code);
        Assert.Contains(sentence, String("detail"), StringComparison.Ordinal);
        if (field is not null) Assert.Equal(field, String("field"));
        foreach (var inside in (ReadOnlySpan<string>)["   at ", "System.", "Billing.", "NodaTime", "Microsoft.", "Exception", ".cs"]) Assert.DoesNotContain(inside, Text, StringComparison.Ordinal);
        return this;
    }
}
