using Billing.Api.Stripe;

namespace Billing.Api.Routes;

/// <summary>Selling through Stripe: checkout for plans and tokens, and Stripe's portal. Each answer says what to do next.</summary>
public static class SellingRoutes
{
    public static void MapSelling(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/organizations/{organization}/checkout-sessions", (string organization, HttpContext http) => Selling.Plan(organization, http, services))
            .WithTags("Selling").WithSummary("Subscribe: a page of Stripe's to pay on. Older pages of the organization end")
            .Accepts<CheckoutBody>("application/json").Produces<SaleView>(201).Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(502);

        v1.MapGet("/organizations/{organization}/checkout-sessions/{id}", (string organization, string id, HttpContext http) => Selling.Session(organization, id, http, services))
            .WithTags("Selling").WithSummary("For the page at success: what became of a checkout. What was paid is there when this has answered").Produces<SaleView>().Produces<Problem>(502).Produces<Problem>(503);

        v1.MapPost("/organizations/{organization}/tokens/purchase", (string organization, HttpContext http) => Selling.Tokens(organization, http, services))
            .WithTags("Tokens").WithSummary("Buy tokens: a page to pay on, or a client secret to pay with on your own. They are there once they are paid")
            .Accepts<TokenPurchaseBody>("application/json").Produces<SaleView>(201).Produces<Problem>(502);

        v1.MapPost("/organizations/{organization}/portal-sessions", (string organization, HttpContext http) => Selling.Portal(organization, http, services))
            .WithTags("Selling").WithSummary("Stripe's portal: payment methods, invoices, cancelling; or one flow of it").Accepts<PortalBody>(true, "application/json").Produces<PortalView>(201).Produces<Problem>(502);
    }
}
