using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Billing.Api;
using Billing.Silo;
using Microsoft.Extensions.Configuration;

namespace Billing.Tests.Api;

/// <summary>What keeps the service upright that strangers can reach, and its secrets secret.</summary>
public sealed class GuardTests
{
    private static Task<Answer> Forwarded(TestApi api, string scheme) => api.Raw("", "GET /v1/nothing", $"Authorization: Bearer {Settings.DevelopmentKey}", $"X-Forwarded-Proto: {scheme}", "X-Forwarded-For: 203.0.113.7");

    [Fact]
    public async Task a_proxy_is_believed_when_it_is_configured_and_nobody_else_is()
    {
        await using var open = await TestApi.Start("learning-community");
        Assert.StartsWith("http://", (await Forwarded(open, "https")).String("type"), StringComparison.Ordinal);
        await using var other = await TestApi.Start("learning-community", args: "--Billing:Proxies=10.0.0.0/8, 192.0.2.1");
        Assert.StartsWith("http://", (await Forwarded(other, "https")).String("type"), StringComparison.Ordinal);
        await using var behind = await TestApi.Start("learning-community", args: "--Billing:Proxies=127.0.0.1");
        var answer = await Forwarded(behind, "https");
        Assert.StartsWith("https://", answer.String("type"), StringComparison.Ordinal);
        Assert.Equal("max-age=31536000", answer.Headers["Strict-Transport-Security"]);
    }

    [Theory]
    [InlineData("--Billing:Proxies=nginx", "Billing:Proxies has 'nginx'; each must be an address or a network such as 10.0.0.0/8.")]
    [InlineData("--Billing:KeyRequestsPerSecond=-1", "Billing:KeyRequestsPerSecond is '-1'; it must be a whole number from 0 to 1000000.")]
    [InlineData("--ForwardedHeaders_Enabled=true", "ASPNETCORE_FORWARDEDHEADERS_ENABLED believes whoever sends X-Forwarded-For. Unset it, and name your proxies in Billing:Proxies.")]
    public async Task what_cannot_be_safe_is_said_at_the_start(string argument, string sentence) =>
        Assert.Equal(sentence, (await Assert.ThrowsAsync<SettingsException>(() => TestApi.Start("learning-community", args: argument))).Message);

    [Fact]
    public async Task each_key_has_its_own_limit_of_requests()
    {
        await using var api = await TestApi.Start("learning-community", args: "--Billing:KeyRequestsPerSecond=1");
        await api.Open("acme");
        using var own = await api.ClientOf("acme");
        Answer refused;
        do refused = await api.Get("/v1/ping");
        while (refused.Status == 200);
        refused.ExpectProblem(429, "too_many_requests", "This key sends more requests than it may. Wait as long as Retry-After says.");
        Assert.Equal("1", refused.Headers["Retry-After"]);
        // Another key is not in its way.
        (await api.Get("/v1/ping", own)).Expect(200);
    }

    [Fact]
    public async Task answers_tell_browsers_to_take_them_for_what_they_are_and_to_keep_nothing()
    {
        await using var api = await TestApi.Start("learning-community");
        foreach (var path in (string[])["/v1/ping", "/v1/nothing"])
        {
            var answer = await api.Get(path);
            Assert.Equal(("nosniff", "no-store"), (answer.Headers["X-Content-Type-Options"], answer.Headers["Cache-Control"]));
        }
        var page = (await api.Get("/sign-in", api.Anonymous)).Expect(200);
        Assert.Equal(("nosniff", "DENY", "no-referrer"), (page.Headers["X-Content-Type-Options"], page.Headers["X-Frame-Options"], page.Headers["Referrer-Policy"]));
        Assert.StartsWith("default-src 'none'", page.Headers["Content-Security-Policy"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(65, 10, 431)]
    [InlineData(40, 500, 431)]
    [InlineData(40, 10, 200)]
    public async Task headers_are_limited_in_number_and_size(int count, int length, int status)
    {
        await using var api = await TestApi.Start("learning-community");
        using var tcp = new TcpClient();
        await tcp.ConnectAsync(IPAddress.Loopback, new Uri(api.Url).Port);
        await using var stream = tcp.GetStream();
        var head = new StringBuilder($"GET /v1/ping HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {Settings.DevelopmentKey}\r\n");
        for (var i = 0; i < count; i++) head.Append($"X-{i}: {new string('a', length)}\r\n");
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"{head}\r\n"));
        Assert.Contains($" {status} ", (await new StreamReader(stream).ReadLineAsync())!, StringComparison.Ordinal);
    }

    [Fact]
    public void settings_in_a_log_or_an_exception_tell_no_secret()
    {
        string[] secrets = ["operator-key-0123456789abcdef0123456789abcdef", "sk_test_secret0123", "whsec_secret0123", "pass-word-0123"];
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["BILLING_OPERATOR_KEY"] = secrets[0], ["STRIPE_SECRET_KEY"] = secrets[1], ["STRIPE_WEBHOOK_SECRET"] = secrets[2],
            ["DATABASE_URL"] = $"postgresql://billing:{secrets[3]}@127.0.0.1:1/none", ["Billing:Catalog"] = Repository.Catalog("learning-community"),
        }).Build();
        var settings = Settings.Read(configuration, isDevelopment: false, Repository.Root);
        var failure = Record.Exception(() => LedgerParts.Open(settings.Ledger, TimeProvider.System));

        var text = $"{settings} {settings.Ledger} {failure}";
        Assert.NotNull(failure);
        Assert.All(secrets, secret => Assert.DoesNotContain(secret, text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task a_key_is_in_no_log_however_much_is_logged()
    {
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "catalog.json"), RememberingClients.Catalog);
            using var service = await ServiceProcess.Start(folder, "--Logging:LogLevel:Default=Trace", "--Logging:LogLevel:Microsoft=Trace", "--Billing:StripeSandbox=off");
            using var made = await service.Http.PostAsync("/v1/api-keys", new StringContent("""{ "name": "one" }""", Encoding.UTF8, "application/json"));
            var key = (string)JsonNode.Parse(await made.Content.ReadAsStringAsync())!["key"]!;
            using var client = new HttpClient { BaseAddress = service.Http.BaseAddress };
            client.DefaultRequestHeaders.Authorization = new("Bearer", key);
            Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/v1/ping")).StatusCode);
            client.DefaultRequestHeaders.Authorization = new("Bearer", key + "x");
            Assert.Equal(HttpStatusCode.Unauthorized, (await client.GetAsync("/v1/ping")).StatusCode);

            Assert.Contains("/v1/ping", service.Said, StringComparison.Ordinal);
            Assert.DoesNotContain(key, service.Said, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
