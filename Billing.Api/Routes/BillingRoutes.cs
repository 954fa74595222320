using Billing.Grains;
using Billing.Ledger;
using Billing.Silo;

namespace Billing.Api.Routes;

/// <summary>How an organization is billed: tax, discount and credit, and who its invoices are addressed to.</summary>
public static class BillingRoutes
{
    public static void MapBilling(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/billing-terms", async (string organization, HttpContext http) =>
                await services.Host.Organization(organization).BillingTerms() is { } terms ? Results.Ok(terms) : OrganizationRoutes.Unknown(http, organization))
            .WithTags("Invoices").WithSummary("Tax, discount and credit").Produces<BillingTermsView>();

        v1.MapPut("/organizations/{organization}/billing-terms", (string organization, HttpContext http) => SetTerms(organization, http, services))
            .WithTags("Invoices").WithSummary("Set tax and discount; what is left out is as the catalog says").Accepts<BillingTermsBody>("application/json").Produces<BillingTermsView>();

        v1.MapPost("/organizations/{organization}/credits", (string organization, HttpContext http) => Credit(organization, http, services))
            .WithTags("Invoices").WithSummary("Give credit, which coming invoices take").Accepts<CreditBody>("application/json").Produces<BillingTermsView>(201);

        v1.MapGet("/organizations/{organization}/profile", (string organization, HttpContext http) => Profile(organization, http, services))
            .WithTags("Organizations").WithSummary("Name, e-mail and address: who invoices are addressed to").Produces<ProfileView>();

        v1.MapPut("/organizations/{organization}/profile", (string organization, HttpContext http) => SetProfile(organization, http, services))
            .WithTags("Organizations").WithSummary("Set name, e-mail, address and country, here and at Stripe. They are kept apart from the stream").Accepts<ProfileBody>("application/json").Produces<ProfileView>();

        v1.MapDelete("/organizations/{organization}/profile", (string organization, HttpContext http) => EraseProfile(organization, http, services))
            .WithTags("Organizations").WithSummary("Erase name, e-mail, address and country, here and at Stripe; the ledger stays as it is").Produces(204);
    }

    private static async Task<IResult> SetTerms(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.BillingTermsBody);
        var command = new SetBillingTerms(Tax(body.Tax), Discount(body.Discount), Text.Reason(body.Reason))
        {
            Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        return await Terms(organization, command, http, services, 200);
    }

    private static TaxTerms? Tax(TaxBody? tax)
    {
        if (tax is null) return null;
        if (string.IsNullOrWhiteSpace(tax.Name)) throw new ApiException("missing_field", "Say what the tax is called: it stands on the invoice.", "tax.name");
        if (tax.Rate is not { } rate) throw new ApiException("missing_field", "Say the rate, in per cent.", "tax.rate");
        if (rate is < 0 or > 100 || decimal.Round(rate, 4) != rate) throw new ApiException("invalid_field", "A rate is from 0 to 100 per cent, with at most 4 places.", "tax.rate");
        return new TaxTerms(Text.Limited(tax.Name, "tax.name", 100)!, rate, tax.Inclusive);
    }

    private static DiscountTerms? Discount(DiscountBody? discount)
    {
        if (discount is null) return null;
        if (discount.Percent is null == discount.Amount is null) throw new ApiException("invalid_field", "A discount is either 'percent' or 'amount'.", "discount");
        if (discount.Percent is { } percent && (percent is <= 0 or > 100 || decimal.Round(percent, 4) != percent))
            throw new ApiException("invalid_field", "A discount is more than 0 and at most 100 per cent, with at most 4 places.", "discount.percent");
        if (discount.Amount is <= 0 or > Pricing.MaxAmount) throw new ApiException("invalid_field", $"An amount off is from 1 to {Pricing.MaxAmount} minor units.", "discount.amount");
        if (discount is { Percent: not null, Currency: not null }) throw new ApiException("invalid_field", "Per cent have no currency.", "discount.currency");
        return new DiscountTerms(discount.Percent, discount.Amount, discount.Until) { Currency = discount.Currency };
    }

    private static async Task<IResult> Credit(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.CreditBody);
        if (body.Amount is not { } amount) throw new ApiException("missing_field", "Say how much, in minor units.", "amount");
        var command = new GrantCredit(amount, Text.StatedReason(body.Reason), body.Currency)
        {
            Id = http.IdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now(), By = http.Caller().Id,
        };
        return await Terms(organization, command, http, services, 201);
    }

    private static async Task<IResult> Terms(string organization, Command command, HttpContext http, Services services, int status)
    {
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Answers.Json((await services.Host.Organization(organization).BillingTerms())!, ApiJson.Web.BillingTermsView, status);
    }

    // ---- the profile

    private static async Task<IResult> Profile(string organization, HttpContext http, Services services) =>
        await services.Host.Organization(organization).Read(services.Clock.Now()) is null
            ? OrganizationRoutes.Unknown(http, organization)
            : Answers.Json(ProfileView.Of(await services.Profiles.Find(organization)), ApiJson.Web.ProfileView);

    private static async Task<IResult> SetProfile(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var body = request.As(ApiJson.Web.ProfileBody);
        var profile = new Profile(
            Text.Limited(body.Name, "name", Profiles.MaxNameLength), Email(body.Email), Text.Limited(body.Address, "address", Profiles.MaxAddressLength, lines: true), Country(body.Country), services.Clock.Now());
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is not { } known) return OrganizationRoutes.Unknown(http, organization);
        if (known.ClosedAt is not null) return Problems.Answer(http, services, organization, Rejections.OrganizationClosed(organization));
        await services.Profiles.Set(organization, profile);
        await services.StripeCustomers.Update(organization);
        return Answers.Json(ProfileView.Of(profile), ApiJson.Web.ProfileView);
    }

    /// <summary>A closed organization's too: people may be forgotten when the business with them is over.</summary>
    private static async Task<IResult> EraseProfile(string organization, HttpContext http, Services services)
    {
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
        await services.Profiles.Erase(organization);
        await services.StripeCustomers.Update(organization);
        await services.Inbox.ErasePayloads(organization);
        await services.SentRequests.EraseForms(organization);
        await services.StripeInvoices.EraseLinks(organization);
        await services.Sessions.Revoke(organization, services.Clock.Now());
        return Results.NoContent();
    }

    private static string? Country(string? country) => country switch
    {
        null or "" => null,
        [>= 'A' and <= 'Z', >= 'A' and <= 'Z'] => country,
        _ => throw new ApiException("invalid_field", "A country is two capital letters (ISO 3166), such as DE.", "country"),
    };

    /// <summary>Whether mail arrives is not known before it is sent; what cannot be an address is refused.</summary>
    private static string? Email(string? email)
    {
        if (Text.Limited(email, "email", Profiles.MaxEmailLength) is not { } given) return null;
        var at = given.IndexOf('@');
        return at > 0 && at == given.LastIndexOf('@') && at < given.Length - 1 && !given.Any(char.IsWhiteSpace)
            ? given
            : throw new ApiException("invalid_field", "An e-mail address reads like billing@example.com.", "email");
    }
}
