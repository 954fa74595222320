using System.Text.Json.Nodes;
using Billing.Api;
using Billing.Cli;
using Billing.Tests.Api;
using Billing.Tests.Grains;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;
using Spectre.Console;
using CommandLine = Billing.Cli.Program;

namespace Billing.Tests.Cli;

/// <summary>What the command line asks a running service for: `billing catalog push` and `billing reconcile`.</summary>
public sealed class ServiceCommandTests
{
    private static async Task<(int Code, string Out, string Error)> Run(string[] args, InteractionSupport watched = InteractionSupport.No)
    {
        var (text, error) = (new StringWriter(), new StringWriter());
        var code = await CommandLine.Run(args, new Terminal(Stream.Null, text, error, Stream.Null, new SettableClock(Sessions.At), watched));
        return (code, text.ToString(), error.ToString());
    }

    private static Task<(int Code, string Out, string Error)> Push(TestApi api, params string[] args) => Run(["catalog", "push", "--url", api.Url, "--key", Settings.DevelopmentKey, .. args]);

    // ---- catalog push

    [Fact]
    public async Task a_push_shows_what_it_changed_and_then_that_nothing_differs()
    {
        await using var before = await TestApi.StartWithStripe("summarizer");
        await using var api = await before.Restart((await File.ReadAllTextAsync(Repository.Catalog("summarizer"))).Replace("2999", "3499", StringComparison.Ordinal));

        var shown = await Push(api, "--dry-run");
        Assert.Equal((0, ""), (shown.Code, shown.Error));
        Assert.Matches("replace price .* pro-month .* 34.99 usd a month instead of 29.99 usd a month", shown.Out);
        Assert.EndsWith($"Catalog version 2: 2 changes to make, 7 as it was.{Environment.NewLine}", shown.Out, StringComparison.Ordinal);

        Assert.EndsWith($"Catalog version 2: 2 changes, 7 as it was.{Environment.NewLine}", (await Push(api)).Out, StringComparison.Ordinal);
        Assert.Equal((0, $"Catalog version 2: 0 changes, 8 as it was.{Environment.NewLine}", ""), await Push(api));
    }

    [Fact]
    public async Task a_push_answers_json_and_ends_with_1_when_a_given_price_does_not_fit()
    {
        await using var api = await TestApi.StartWithStripe("summarizer", args: "--STRIPE_PRICE_PRO=price_gone");

        var json = await Push(api, "--json");
        Assert.Equal((1, 1), (json.Code, (int)JsonNode.Parse(json.Out)!["wrong"]!));
        var table = await Push(api);
        Assert.Equal(1, table.Code);
        Assert.Matches("given .* price_gone .* pro-month .* Stripe has no such price", table.Out);
        Assert.EndsWith($"1 given price does not fit.{Environment.NewLine}", table.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task what_the_service_refuses_is_said_and_ends_with_2()
    {
        await using var api = await TestApi.Start("summarizer");

        var refused = await Push(api);
        Assert.Equal((2, ""), (refused.Code, refused.Out));
        Assert.Contains("(stripe_not_configured)", refused.Error, StringComparison.Ordinal);
        Assert.Contains("(unauthenticated)", (await Run(["catalog", "push", "--url", api.Url, "--key", "bk_test_other"])).Error, StringComparison.Ordinal);
        Assert.Contains("'nowhere' is no address of a service.", (await Run(["catalog", "push", "--url", "nowhere", "--key", "k"])).Error, StringComparison.Ordinal);
    }

    // ---- reconcile

    /// <summary>A service of which only what is asked for here is there.</summary>
    private static async Task<(WebApplication App, string Url)> Stub(Action<WebApplication> map)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        map(app);
        await app.StartAsync();
        return (app, app.Urls.Single());
    }

    private static string Reconciled(string organization, params string[] differences) => $$"""
        { "organization": "{{organization}}", "differences": [{{string.Join(',', differences)}}], "repaired": 0, "checked": { "subscriptions": 1, "invoices": 2, "payments": 3, "events": 4 } }
        """;

    private static string Difference(bool repaired) => $$"""
        { "kind": "subscription", "field": "status", "ledger": "active", "stripe": "canceled", "explained_by": "evt_1 is missing [lost]", "repair": "follow-subscription", "repaired": {{(repaired ? "true" : "false")}} }
        """;

    private static Task<(int Code, string Out, string Error)> Reconcile(string url, params string[] args) => Run(["reconcile", "--url", url, "--key", "bk_test_key", .. args]);

    [Fact]
    public async Task every_organization_is_compared_page_by_page_and_differences_are_shown()
    {
        var asked = new List<string>();
        var (app, url) = await Stub(app =>
        {
            app.MapGet("/v1/organizations", (string? cursor, int limit, HttpContext http) =>
            {
                Assert.Equal("Bearer bk_test_key", http.Request.Headers.Authorization);
                return Results.Content(cursor is null ? """{ "items": [{ "id": "acme" }, { "id": "beta" }], "next_cursor": "c2" }""" : """{ "items": [{ "id": "gamma" }], "next_cursor": null }""", "application/json");
            });
            app.MapPost("/v1/organizations/{organization}/reconcile", async (string organization, HttpContext http) =>
            {
                asked.Add($"{organization} {await new StreamReader(http.Request.Body).ReadToEndAsync()}");
                Assert.NotEmpty(http.Request.Headers["Idempotency-Key"].ToString());
                return Results.Content(organization == "beta" ? Reconciled(organization, Difference(false), Difference(true)) : Reconciled(organization), "application/json");
            });
        });
        await using var _ = app;

        var table = await Reconcile(url, "--all");
        Assert.Equal((1, ""), (table.Code, table.Error));
        Assert.Equal(["""acme {"repair":false}""", """beta {"repair":false}""", """gamma {"repair":false}"""], asked);
        Assert.Matches(@"beta .* subscription status .* active .* canceled .* evt_1 is missing \[lost\] .* follow-subscription", table.Out);
        Assert.Contains("follow-subscription: done", table.Out, StringComparison.Ordinal);
        Assert.EndsWith($"3 organizations compared: 2 differences, 1 repaired.{Environment.NewLine}", table.Out, StringComparison.Ordinal);

        var json = await Reconcile(url, "--all", "--json");
        var read = JsonNode.Parse(json.Out)!;
        Assert.Equal((1, 3, 2, 1, 0), (json.Code, read["organizations"]!.AsArray().Count, (int)read["differences"]!, (int)read["left"]!, read["failed"]!.AsArray().Count));
        Assert.Equal("evt_1 is missing [lost]", (string?)read["organizations"]![1]!["differences"]![0]!["explained_by"]);

        var watched = await Run(["reconcile", "--all", "--url", url, "--key", "bk_test_key"], InteractionSupport.Yes);
        Assert.Contains("Reconciling", watched.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task repaired_differences_end_with_0_and_an_organization_that_fails_with_2()
    {
        var (app, url) = await Stub(app => app.MapPost("/v1/organizations/{organization}/reconcile", async (string organization, HttpContext http) =>
        {
            var repair = (bool)(await JsonNode.ParseAsync(http.Request.Body))!["repair"]!;
            return organization == "ghost"
                ? Results.Content("""{ "code": "organization_unknown", "detail": "There is no organization 'ghost'." }""", "application/problem+json", statusCode: 404)
                : Results.Content(Reconciled(organization, Difference(repair)), "application/json");
        }));
        await using var _ = app;

        Assert.Equal(1, (await Reconcile(url, "acme")).Code);
        var repaired = await Reconcile(url, "acme", "--repair", "--reason", "webhooks were lost");
        Assert.Equal(0, repaired.Code);
        Assert.EndsWith($"1 organization compared: 1 difference, 1 repaired.{Environment.NewLine}", repaired.Out, StringComparison.Ordinal);
        var failed = await Reconcile(url, "ghost", "--repair", "--reason", "webhooks were lost");
        Assert.Equal((2, $"ghost: There is no organization 'ghost'. (organization_unknown){Environment.NewLine}"), (failed.Code, failed.Error));
        Assert.EndsWith($"0 organizations compared: no differences. 1 could not be compared.{Environment.NewLine}", failed.Out, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("Name one organization, or say --all.", "reconcile")]
    [InlineData("Name one organization, or say --all.", "reconcile", "acme", "--all")]
    [InlineData("With --repair say why with --reason", "reconcile", "acme", "--repair", "--key", "k")]
    [InlineData("With --repair say why with --reason", "reconcile", "acme", "--reason", "why not", "--key", "k")]
    public async Task wrong_arguments_are_told_and_end_with_2(string says, params string[] args)
    {
        var ran = await Run(args);

        Assert.Equal((2, ""), (ran.Code, ran.Out));
        Assert.Contains(says, ran.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task a_service_that_is_not_there_or_is_none_is_said_and_ends_with_2()
    {
        var (app, url) = await Stub(app => app.MapFallback(() => "Hello"));
        Assert.Contains("no Billing Ledger answers so", (await Reconcile(url, "--all")).Error, StringComparison.Ordinal);
        await app.DisposeAsync();

        var gone = await Reconcile(url, "--all");
        Assert.Equal((2, ""), (gone.Code, gone.Out));
        Assert.Contains($"The service at {url}/ does not answer", gone.Error, StringComparison.Ordinal);
    }
}
