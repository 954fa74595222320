using System.Text.Json;
using Billing.Grains;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>Recording use: one record, a batch, a gauge.</summary>
public static class UsageRoutes
{
    public const int MaxItems = 1_000;
    public const int MaxAtomicItems = 20;

    public static void MapUsage(this RouteGroupBuilder v1, Services services)
    {
        v1.MapPost("/organizations/{organization}/usage", (string organization, HttpContext http) => Record(organization, http, services))
            .WithTags("Usage").WithSummary("Record use, or be told why not").Accepts<UsageBody>("application/json").Produces<UsageRecordView>(201)
            .Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(429);

        v1.MapPost("/organizations/{organization}/usage/batch", (string organization, HttpContext http) => RecordBatch(organization, http, services))
            .WithTags("Usage").WithSummary("Record several uses; with \"atomic\" all or none").Accepts<UsageBatchBody>("application/json").Produces<UsageBatchView>().Produces<UsageBatchView>(201)
            .Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(429);

        v1.MapPut("/organizations/{organization}/gauges/{feature}", (string organization, string feature, HttpContext http) => SetGauge(organization, feature, http, services))
            .WithTags("Usage").WithSummary("Set a gauge").Accepts<GaugeBody>("application/json").Produces<UsageRecordView>()
            .Produces<Problem>(402).Produces<Problem>(403).Produces<Problem>(429);

        v1.MapCorrections(services);
        v1.MapUsageHistory(services);
        v1.MapExplanations(services);
        v1.MapHolds(services);
        v1.MapSpendCaps(services);
    }

    private static async Task<IResult> Record(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        var command = CommandOf(request.As(ApiJson.Web.UsageBody), http.IdempotencyKey(), request.ContentHash(), services, "");
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Entitlement?.Rate is { } rate) http.AddRateLimit(command.Feature, rate, command.At);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        return Answers.Json(ViewOf(result, organization, services), ApiJson.Web.UsageRecordView, 201);
    }

    private static async Task<IResult> SetGauge(string organization, string feature, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http);
        if (request.As(ApiJson.Web.GaugeBody).Value is not { } value) throw new ApiException("missing_field", "Say the gauge's value.", "value");
        if (value < 0) throw new ApiException("invalid_field", "A gauge stands at 0 or more.", "value");
        var command = new SetGauge(feature, value) { Id = http.OptionalIdempotencyKey(), ContentHash = request.ContentHash(), At = services.Clock.Now() };
        var result = await services.Host.Organization(organization).Execute(command);
        if (result.Rejection is { } rejection) return Problems.Answer(http, services, organization, rejection);
        http.MarkReplayed(result.Replayed);
        // It stood there already: nothing is recorded, and the entitlement is the answer.
        if (result.Events.Count == 0) return Results.Ok(services.DenialIds.Sign(organization, result.Entitlement!));
        return Results.Ok(ViewOf(result, organization, services));
    }

    private static async Task<IResult> RecordBatch(string organization, HttpContext http, Services services)
    {
        using var request = await RequestBody.Read(http, RequestBody.MaxBatchBytes);
        var key = http.IdempotencyKey();
        var (items, isAtomic) = ReadBatch(request.Json);

        var views = new UsageItemView[items.Count];
        var commands = new List<Command>(items.Count);
        var indexes = new List<int>(items.Count);
        for (var i = 0; i < items.Count; i++)
        {
            try
            {
                var body = RequestBody.Read(items[i], ApiJson.Web.UsageItemBody, $"items[{i}]");
                commands.Add(CommandOf(body, ItemKey(key, body.Id, i), request.ContentHash(items[i]), services, $"items[{i}]."));
                indexes.Add(i);
            }
            catch (ApiException e) when (!isAtomic)
            {
                views[i] = new UsageItemView(i, "rejected", null, Problems.Of(http, e.Code, e.Message, e.Field));
            }
        }

        if (commands.Count == 0)
        {
            // Nothing is left to decide but whether there is anybody to decide it for.
            if (await services.Host.Organization(organization).Read(services.Clock.Now()) is not { } view) return OrganizationRoutes.Unknown(http, organization);
            if (view.ClosedAt is not null) return Problems.Answer(http, services, organization, Rejections.OrganizationClosed(organization));
        }
        var results = commands.Count == 0 ? [] : await services.Host.Organization(organization).ExecuteAll(commands, isAtomic);
        if (results.Select(r => r.Rejection).FirstOrDefault(r => r?.Kind is RejectionKind.OrganizationUnknown or RejectionKind.OrganizationClosed) is { } nobody)
            return Problems.Answer(http, services, organization, nobody);
        if (isAtomic && results[0].Rejection is { } refused && results.All(r => r.Rejection is not null)) return Problems.Answer(http, services, organization, refused);

        var (recorded, replayed) = (0, 0);
        for (var i = 0; i < results.Count; i++)
        {
            views[indexes[i]] = ItemOf(indexes[i], results[i], http, organization, services);
            if (results[i].Rejection is not null) continue;
            if (results[i].Replayed) replayed++;
            else recorded++;
        }
        http.MarkReplayed(replayed > 0 && replayed == items.Count);
        return Answers.Json(new UsageBatchView(recorded, replayed, items.Count - recorded - replayed, views), ApiJson.Web.UsageBatchView, isAtomic ? 201 : 200);
    }

    private static (List<JsonElement> Items, bool IsAtomic) ReadBatch(JsonElement json)
    {
        foreach (var member in json.EnumerateObject())
            if (member.Name is not ("items" or "atomic")) throw new ApiException("unknown_field", $"There is no field '{member.Name}' here.", member.Name);
        var isAtomic = json.TryGetProperty("atomic", out var atomic) && atomic.ValueKind switch
        {
            JsonValueKind.True => true,
            JsonValueKind.False => false,
            _ => throw new ApiException("invalid_field", "The field 'atomic' is true or false.", "atomic"),
        };
        if (!json.TryGetProperty("items", out var array) || array.ValueKind != JsonValueKind.Array || array.GetArrayLength() == 0)
            throw new ApiException("missing_field", "A batch has at least one item: { \"items\": [{ \"feature\": …, \"quantity\": … }] }.", "items");
        var most = isAtomic ? MaxAtomicItems : MaxItems;
        if (array.GetArrayLength() > most) throw new ApiException("batch_too_large", $"{(isAtomic ? "An atomic batch" : "A batch")} has at most {most} items.", "items");
        return ([.. array.EnumerateArray()], isAtomic);
    }

    private static string ItemKey(string key, string? id, int index)
    {
        if (id is { Length: 0 or > 64 } || id?.All(c => c is > ' ' and <= '~') == false)
            throw new ApiException("invalid_field", "An item's id has 1 to 64 printable ASCII characters without spaces.", $"items[{index}].id");
        return $"{key}:{id ?? index.ToString()}";
    }

    private static RecordUsage CommandOf(UsageBody body, string id, byte[] contentHash, Services services, string path)
    {
        if (body.Feature is not { } feature) throw new ApiException("missing_field", "Say which feature was used.", path + "feature");
        if (body.Quantity is not { } quantity) throw new ApiException("missing_field", "Say how much of it was used.", path + "quantity");
        CheckMetadata(body.Metadata, path);
        return new RecordUsage(feature, quantity, body.Unit, body.Timestamp, body.Enforce ?? true, body.Metadata is { Count: 0 } ? null : body.Metadata)
        {
            Id = id, ContentHash = contentHash, At = services.Clock.Now(),
        };
    }

    internal static void CheckMetadata(Dictionary<string, string>? metadata, string path)
    {
        if (metadata is null) return;
        if (metadata.Count > Ids.MaxMetadataEntries)
            throw new ApiException("metadata_too_large", $"Metadata has at most {Ids.MaxMetadataEntries} entries.", path + "metadata");
        foreach (var (name, value) in metadata)
        {
            if (value is null) throw new ApiException("invalid_field", "Metadata values are texts.", $"{path}metadata.{name}");
            if (name.Length is 0 or > Ids.MaxMetadataKeyLength || value.Length > Ids.MaxMetadataValueLength)
                throw new ApiException("metadata_too_large", $"A metadata key has 1 to {Ids.MaxMetadataKeyLength} characters and a value at most {Ids.MaxMetadataValueLength}.", path + "metadata");
        }
    }

    private static UsageItemView ItemOf(int index, CommandResult result, HttpContext http, string organization, Services services)
    {
        if (result.Rejection is { } rejection)
        {
            var denial = rejection.Denial is { } d ? services.DenialIds.Sign(organization, DenialView.Of(d)) : null;
            return new UsageItemView(index, denial is null ? "rejected" : "denied", null, Problems.Of(http, rejection, denial));
        }
        return new UsageItemView(index, result.Replayed ? "replayed" : "recorded", ViewOf(result, services), null);
    }

    private static UsageRecordView ViewOf(CommandResult result, string organization, Services services) =>
        ViewOf(result, services) with { Entitlement = services.DenialIds.Sign(organization, result.Entitlement!) };

    private static UsageRecordView ViewOf(CommandResult result, Services services)
    {
        var record = result.Events.OfType<UsageRecorded>().Single();
        var view = UsageRecordView.Of(record, services.Catalogs);
        return result.Events.Count == 1 ? view : view with { Adjustments = CorrectionRoutes.Adjustments(result.Events, view.Id, services) };
    }
}
