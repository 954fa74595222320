using System.Collections.Frozen;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Billing.Ledger;

namespace Billing.Grains.Journal;

/// <summary>How one event is stored. Names and schema versions are for ever: renaming a class changes nothing in the journal.</summary>
/// <param name="Upcasters">How a body of schema n becomes one of n + 1, for every n below <paramref name="ReadFrom"/>.</param>
/// <param name="ReadFrom">The oldest schema whose bodies are read as they are: what came later may be absent. 0 is only the current one.</param>
public sealed record EventType(
    string Name, int Schema, Type Type, JsonTypeInfo Json, IReadOnlyDictionary<int, Func<JsonObject, JsonObject>>? Upcasters = null, int ReadFrom = 0)
{
    internal bool Reads(int schema) => schema == Schema || (ReadFrom > 0 && schema >= ReadFrom && schema < Schema);
}

/// <summary>Between ledger events and their stored form.</summary>
public sealed class EventCodec
{
    internal static readonly EventJson Json = new(new JsonSerializerOptions(EventJson.Default.Options) { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });

    /// <summary>THE TABLE: every event's stored name and schema version. A golden file for each stays in Billing.Tests/Journal/golden.</summary>
    public static readonly IReadOnlyList<EventType> Table =
    [
        new("organization-opened", 1, typeof(OrganizationOpened), Json.OrganizationOpened),
        new("organization-closed", 1, typeof(OrganizationClosed), Json.OrganizationClosed),
        new("customer-linked", 1, typeof(CustomerLinked), Json.CustomerLinked),
        new("invitation-given", 1, typeof(InvitationGiven), Json.InvitationGiven),
        new("subscription-changed", 3, typeof(SubscriptionChanged), Json.SubscriptionChanged, ReadFrom: 1),
        new("payment-recorded", 1, typeof(PaymentRecorded), Json.PaymentRecorded),
        new("payment-voided", 1, typeof(PaymentVoided), Json.PaymentVoided),
        new("usage-recorded", 2, typeof(UsageRecorded), Json.UsageRecorded, ReadFrom: 1),
        new("quota-reset", 2, typeof(QuotaReset), Json.QuotaReset, ReadFrom: 1),
        new("tokens-purchased", 1, typeof(TokensPurchased), Json.TokensPurchased),
        new("purchase-dated", 1, typeof(PurchaseDated), Json.PurchaseDated),
        new("tokens-granted", 1, typeof(TokensGranted), Json.TokensGranted),
        new("tokens-revoked", 1, typeof(TokensRevoked), Json.TokensRevoked),
        new("tokens-expired", 1, typeof(TokensExpired), Json.TokensExpired),
        new("time-zone-changed", 1, typeof(TimeZoneChanged), Json.TimeZoneChanged),
        new("clock-advanced", 1, typeof(ClockAdvanced), Json.ClockAdvanced),
        new("override-set", 1, typeof(OverrideSet), Json.OverrideSet),
        new("usage-voided", 1, typeof(UsageVoided), Json.UsageVoided),
        new("hold-placed", 1, typeof(HoldPlaced), Json.HoldPlaced),
        new("hold-ended", 1, typeof(HoldEnded), Json.HoldEnded),
        new("top-up-configured", 1, typeof(TopUpConfigured), Json.TopUpConfigured),
        new("top-up-requested", 1, typeof(TopUpRequested), Json.TopUpRequested),
        new("top-up-ended", 1, typeof(TopUpEnded), Json.TopUpEnded),
        new("top-up-switched-off", 1, typeof(TopUpSwitchedOff), Json.TopUpSwitchedOff),
        new("lines-added", 1, typeof(LinesAdded), Json.LinesAdded),
        new("lines-billed-at-stripe", 1, typeof(LinesBilledAtStripe), Json.LinesBilledAtStripe),
        new("invoice-created", 1, typeof(InvoiceCreated), Json.InvoiceCreated),
        new("invoice-finalized", 1, typeof(InvoiceFinalized), Json.InvoiceFinalized),
        new("invoice-settled", 1, typeof(InvoiceSettled), Json.InvoiceSettled),
        new("credit-granted", 1, typeof(CreditGranted), Json.CreditGranted),
        new("billing-terms-set", 1, typeof(BillingTermsSet), Json.BillingTermsSet),
        new("spend-caps-set", 1, typeof(SpendCapsSet), Json.SpendCapsSet),
        new("alert-raised", 1, typeof(AlertRaised), Json.AlertRaised),
    ];

    public static readonly EventCodec Default = new(Table);

    private readonly FrozenDictionary<string, EventType> byName;
    private readonly FrozenDictionary<Type, EventType> byType;

    public EventCodec(IReadOnlyList<EventType> table)
    {
        byName = table.ToFrozenDictionary(t => t.Name);
        byType = table.ToFrozenDictionary(t => t.Type);
    }

    /// <summary>The event as it will be stored behind an event with <paramref name="previousHash"/>.</summary>
    public StoredEvent Encode(string organization, LedgerEvent e, string? commandId, byte[]? contentHash, byte[] previousHash)
    {
        var type = byType[e.GetType()];
        var body = JsonSerializer.SerializeToUtf8Bytes(e, type.Json);
        var hash = HashChain.Next(previousHash, organization, e.Version, type.Name, type.Schema, Micros.Of(e.EffectiveAt), Micros.Of(e.RecordedAt), commandId, contentHash, body);
        return new StoredEvent(organization, e.Version, type.Name, type.Schema, e.EffectiveAt, e.RecordedAt, commandId, contentHash, body, hash);
    }

    /// <exception cref="UnknownEventException">The journal was written by a newer build.</exception>
    /// <exception cref="ArchivedEventException">Its body is in an archive.</exception>
    public LedgerEvent Decode(StoredEvent stored)
    {
        if (stored.IsArchived) throw new ArchivedEventException(stored);
        if (!byName.TryGetValue(stored.Type, out var type) || stored.Schema > type.Schema) throw new UnknownEventException(stored);
        if (type.Type == typeof(UsageRecorded) && type.Reads(stored.Schema) && UsageReader.Read(stored) is { } usage) return usage;
        var decoded = type.Reads(stored.Schema)
            ? JsonSerializer.Deserialize(stored.Body, type.Json)
            : Upcast(stored, type).Deserialize(type.Json);
        return (LedgerEvent)decoded! with { Version = stored.Version, EffectiveAt = stored.EffectiveAt, RecordedAt = stored.RecordedAt };
    }

    private static JsonObject Upcast(StoredEvent stored, EventType type)
    {
        var body = JsonNode.Parse(stored.Body)!.AsObject();
        for (var schema = stored.Schema; schema < type.Schema; schema++)
        {
            if (type.Upcasters?.GetValueOrDefault(schema) is not { } upcast) throw new UnknownEventException(stored);
            body = upcast(body);
        }
        return body;
    }
}

/// <summary>An event that this build cannot read. Loading the organization stops, because skipping a fact would falsify every number after it.</summary>
[GenerateSerializer, Alias("UnknownEventException")]
public sealed class UnknownEventException(StoredEvent stored) : Exception(
    $"Event {stored.Version} of organization '{stored.Organization}' is of type '{stored.Type}' schema {stored.Schema}, which this build does not know. "
    + "It was written by a newer version of the service: run that one.");

/// <summary>The bodies' JSON: snake_case, nulls left out, times RFC 3339, enums in snake_case.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    Converters =
    [
        typeof(InstantJson), typeof(SpelledEnum<Window>), typeof(SpelledEnum<GrantKind>), typeof(SpelledEnum<SubscriptionStatus>),
        typeof(SpelledEnum<BillingInterval>), typeof(SpelledEnum<SnapshotRank>), typeof(SpelledEnum<SubscriptionChange>),
        typeof(SpelledEnum<HoldOutcome>), typeof(SpelledEnum<AlertKind>), typeof(SpelledEnum<LineKind>), typeof(SpelledEnum<InvoiceStatus>),
    ])]
[JsonSerializable(typeof(OrganizationOpened))]
[JsonSerializable(typeof(OrganizationClosed))]
[JsonSerializable(typeof(CustomerLinked))]
[JsonSerializable(typeof(InvitationGiven))]
[JsonSerializable(typeof(SubscriptionChanged))]
[JsonSerializable(typeof(PaymentRecorded))]
[JsonSerializable(typeof(PaymentVoided))]
[JsonSerializable(typeof(UsageRecorded))]
[JsonSerializable(typeof(QuotaReset))]
[JsonSerializable(typeof(TokensPurchased))]
[JsonSerializable(typeof(PurchaseDated))]
[JsonSerializable(typeof(TokensGranted))]
[JsonSerializable(typeof(TokensRevoked))]
[JsonSerializable(typeof(TokensExpired))]
[JsonSerializable(typeof(TimeZoneChanged))]
[JsonSerializable(typeof(ClockAdvanced))]
[JsonSerializable(typeof(OverrideSet))]
[JsonSerializable(typeof(UsageVoided))]
[JsonSerializable(typeof(HoldPlaced))]
[JsonSerializable(typeof(HoldEnded))]
[JsonSerializable(typeof(TopUpConfigured))]
[JsonSerializable(typeof(TopUpRequested))]
[JsonSerializable(typeof(TopUpEnded))]
[JsonSerializable(typeof(TopUpSwitchedOff))]
[JsonSerializable(typeof(LinesAdded))]
[JsonSerializable(typeof(LinesBilledAtStripe))]
[JsonSerializable(typeof(InvoiceCreated))]
[JsonSerializable(typeof(InvoiceFinalized))]
[JsonSerializable(typeof(InvoiceSettled))]
[JsonSerializable(typeof(CreditGranted))]
[JsonSerializable(typeof(BillingTermsSet))]
[JsonSerializable(typeof(SpendCapsSet))]
[JsonSerializable(typeof(AlertRaised))]
[JsonSerializable(typeof(NodaTime.Instant))]
internal sealed partial class EventJson : JsonSerializerContext;
