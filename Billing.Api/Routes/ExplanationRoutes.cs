using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Api.Routes;

/// <summary>Why it was decided so, and how everything was: folded from the journal again, with the catalogs of then.</summary>
public static class ExplanationRoutes
{
    public static void MapExplanations(this RouteGroupBuilder v1, Services services)
    {
        v1.MapGet("/organizations/{organization}/usage/{id}/explain", (string organization, string id, HttpContext http) => Usage(organization, id, http, services))
            .WithTags("Usage").WithSummary("How a usage record came to be covered as it is, and what became of it").Produces<UsageExplanationView>();

        v1.MapGet("/organizations/{organization}/denials/{id}", (string organization, string id, HttpContext http) => Denial(organization, id, http, services))
            .WithTags("Entitlements").WithSummary("The same denial again, as it was decided then, with the rules, numbers and events behind it").Produces<ExplanationView>();

        v1.MapGet("/organizations/{organization}/ledger/state", (string organization, HttpContext http) => State(organization, http, services))
            .WithTags("Ledger").WithSummary("The whole organization as it was recorded at a moment, with every entitlement as it would have been answered then (?at=)")
            .Produces<StateView>().TakesQuery("at|moment");
    }

    private static async Task<IResult> Usage(string organization, string id, HttpContext http, Services services)
    {
        if (await CorrectionRoutes.Find(organization, id, services) is not { } record) return await CorrectionRoutes.Unknown(organization, id, http, services);
        var before = await Folding.Until(services.Journal, organization, record.Version - 1, Instant.MaxValue, http.RequestAborted);
        var why = new Explanation();
        Explanations.OfUsage(before, services.CatalogStore.AsOf(record.RecordedAt - before.Account.Ahead), record, why);
        var steps = Reading.Steps(why).ToList();
        var isVoided = await services.Host.Organization(organization).Voided() is { } voided && voided.Contains(record.Version);
        if (isVoided) steps.Add(await VoidStep(organization, record, services));
        return Results.Ok(new UsageExplanationView(UsageRecordView.Of(record, services.Catalogs) with { Voided = isVoided }, before.Version, record.RecordedAt, steps));
    }

    /// <summary>What took the record back, and what is in its place.</summary>
    private static async Task<StepView> VoidStep(string organization, UsageRecorded record, Services services)
    {
        var id = Ids.UsageRecord(record.Version);
        UsageVoided? voided = null;
        UsageRecorded? instead = null;
        await foreach (var e in StreamPages.All(services.Journal, organization, ["usage-voided", "usage-recorded"], record.Version))
        {
            if (e is UsageVoided v && v.Record == id) voided = v;
            if (e is UsageRecorded u && u.Corrects == id) instead = u;
            // A correction's two events stand side by side, in either order.
            if (voided is not null && e.Version > voided.Version) break;
        }
        var numbers = new Dictionary<string, string?>
        {
            ["at"] = NodaTime.Text.InstantPattern.ExtendedIso.Format(voided!.RecordedAt), ["reason"] = voided.Reason, ["by"] = voided.By,
            ["in_its_place"] = instead is null ? null : Ids.UsageRecord(instead.Version),
        };
        return new StepView("voided", instead is null ? "taken_back" : "corrected", numbers, instead is null ? [voided.Version] : [voided.Version, instead.Version]);
    }

    private static async Task<IResult> Denial(string organization, string id, HttpContext http, Services services)
    {
        if (await services.Host.Organization(organization).Read(services.Clock.Now()) is null) return OrganizationRoutes.Unknown(http, organization);
        if (services.DenialIds.Read(organization, id) is { } question)
        {
            var state = await Folding.Until(services.Journal, organization, question.Version, question.At, http.RequestAborted);
            var why = new Explanation();
            if (Explanations.OfDenial(state, services.Catalogs, question, why) is { Denial: { } denial } entitlement)
            {
                var view = EntitlementView.Of(entitlement);
                // The id says what the answer is made of, whatever it was made from now.
                view = view with { Denial = services.DenialIds.Shown(organization, DenialView.Of(denial)) with { Id = id } };
                return Results.Ok(new ExplanationView(view, question.Version, question.At, Reading.Steps(why)));
            }
        }
        return Problems.Answer(http, "not_found", $"There is no denial '{id}'. An id is the 'id' of a denial, as it was answered to this organization.");
    }

    private static async Task<IResult> State(string organization, HttpContext http, Services services)
    {
        var clock = services.Clock.Now();
        if (await services.Host.Organization(organization).Read(clock) is not { } view) return OrganizationRoutes.Unknown(http, organization);
        var asked = http.TimeParameter("at");
        var state = await Folding.Until(services.Journal, organization, long.MaxValue, asked ?? Instant.MaxValue, http.RequestAborted);
        if (!state.IsOpened) return Problems.Answer(http, services, organization, Rejections.BeforeOpening(view.OpenedAt) with { Field = "at" });
        var at = asked ?? state.Now(clock);
        // What is recorded later may be recorded with any time from now on.
        if (at > state.Now(clock)) throw new ApiException("invalid_parameter", $"Nothing is known of then: it is {state.Now(clock)} for this organization.", "at");
        var then = Reading.State(state, services.CatalogStore.AsOf(at - state.Account.Ahead), at);
        return Results.Ok(then with { Entitlements = [.. then.Entitlements.Select(e => services.DenialIds.Sign(organization, e))] });
    }
}
