using System.Text.RegularExpressions;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>Automatic top-up: its terms, by the customer; and what became of a payment, by who collects it.</summary>
public static partial class TopUpRoutes
{
    public static void MapTopUps(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/tokens/top-up", (string organization, HttpContext http) => View(organization, http, services))
            .WithTags("Tokens").WithSummary("Automatic top-up: its terms, what is pending, and this month so far").Produces<TopUpView>();

        v1.MapPut("/organizations/{organization}/tokens/top-up", (string organization, HttpContext http) => Configure(organization, http, services))
            .WithTags("Tokens").WithSummary("Buy a token package whenever few tokens are left").Accepts<TopUpBody>("application/json").Produces<TopUpView>();

        v1.MapDelete("/organizations/{organization}/tokens/top-up", (string organization, HttpContext http) => SwitchOff(organization, http, services))
            .WithTags("Tokens").WithSummary("Switch automatic top-up off").Produces<TopUpView>();

        v1.MapPost("/organizations/{organization}/tokens/top-up/{id}/complete", (string organization, string id, HttpContext http) => Complete(organization, id, http, services))
            .WithTags("Tokens").WithSummary("A top-up was paid: give its tokens").Accepts<CompleteTopUpBody>("application/json").Produces<TopUpView>();

        v1.MapPost("/organizations/{organization}/tokens/top-up/{id}/fail", (string organization, string id, HttpContext http) => Fail(organization, id, http, services))
            .WithTags("Tokens").WithSummary("A top-up's payment failed").Accepts<FailTopUpBody>("application/json").Produces<TopUpView>();
    }

    private static async Task<IResult> Configure(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.TopUpBody);
        var package = body.TokenPackage ?? throw new ApiException("missing_field", "Say which token package is bought.", "token_package");
        var threshold = body.Threshold ?? throw new ApiException("missing_field", "Say below how many tokens it is bought.", "threshold");
        var count = body.MaxCount ?? throw new ApiException("missing_field", "Say how many are bought in a month at most.", "max_count");
        var amount = body.MaxAmount ?? throw new ApiException("missing_field", "Say how much is spent in a month at most, in minor units.", "max_amount");
        var coolOff = body.CoolOffMinutes ?? TopUps.DefaultCoolOffMinutes;
        if (count > TopUps.MaxCount) throw new ApiException("invalid_field", $"At most {TopUps.MaxCount} are bought in a month.", "max_count");
        if (coolOff is < 1 or > TopUps.MaxCoolOffMinutes)
            throw new ApiException("invalid_field", $"The time between two top-ups is from 1 to {TopUps.MaxCoolOffMinutes} minutes.", "cool_off_minutes");
        var catalog = services.Catalogs.Current;
        if (catalog.TokenPackage(package)?.Price(catalog.Currency) is { } price && amount < price.Amount)
            throw new ApiException("invalid_field", $"One '{package}' costs {price.Amount} minor units of {price.Currency}: at least so much must be allowed in a month.", "max_amount");
        return await Execute(organization, http, services,
            new ConfigureTopUp(new TopUpTerms(package, threshold, count, amount, coolOff)) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id });
    }

    private static async Task<IResult> SwitchOff(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        return await Execute(organization, http, services,
            new ConfigureTopUp(null) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id });
    }

    private static async Task<IResult> Complete(string organization, string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.CompleteTopUpBody);
        if (body.Payment is not { Length: > 0 and <= MaxPaymentLength } payment || !Payment().IsMatch(payment))
            throw new ApiException(body.Payment is null ? "missing_field" : "invalid_field", $"Say what the payment is known by, in 1 to {MaxPaymentLength} letters, digits, '_', '-', '.' and ':'.", "payment");
        if (body.Amount is < 0 or > Quantity.MaxUnits) throw new ApiException("invalid_field", "An amount is in minor units, 0 or more.", "amount");
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
        // Pending or not: money that came in gives the tokens that were asked for.
        if (await Asked(organization, id, services) is not { } asked) return Problems.Answer(http, services, organization, Rejections.TopUpUnknown(id));
        var now = services.Clock.Now();
        return await Execute(organization, http, services,
            new PurchaseTokens(asked.Package, payment, body.Amount ?? asked.Amount, asked.Currency, now, id) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = now, By = http.Caller().Id });
    }

    private static async Task<IResult> Fail(string organization, string id, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var failure = request.As(ApiJson.Web.FailTopUpBody).Failure ?? throw new ApiException("missing_field", "Say why it failed, as a code such as card_declined.", "failure");
        if (!Code().IsMatch(failure)) throw new ApiException("invalid_field", "A failure is a code such as card_declined: 1 to 64 small letters, digits and '_'.", "failure");
        return await Execute(organization, http, services,
            new FailTopUp(id, failure) { Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id });
    }

    private static async Task<IResult> Execute(string organization, HttpContext http, Services services, Command command)
    {
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return await View(organization, http, services);
    }

    private static async Task<IResult> View(string organization, HttpContext http, Services services) =>
        await services.Host.Organization(organization).TopUp(services.Clock.Now()) is { } view ? Results.Ok(view) : OrganizationRoutes.Unknown(http, organization);

    /// <summary>The request with this id; null when it is none.</summary>
    private static async Task<TopUpRequested?> Asked(string organization, string id, Services services) =>
        Ids.Version(id, "tu_") is > 0 and var version && await services.Journal.ReadStream(organization, version, 1) is [var stored] && stored.Version == version
            ? EventCodec.Default.Decode(stored) as TopUpRequested
            : null;

    private const int MaxPaymentLength = 255;

    [GeneratedRegex(@"\A[a-z0-9_]{1,64}\z", RegexOptions.CultureInvariant)]
    private static partial Regex Code();

    [GeneratedRegex(@"\A[A-Za-z0-9_.:-]+\z", RegexOptions.CultureInvariant)]
    private static partial Regex Payment();
}
