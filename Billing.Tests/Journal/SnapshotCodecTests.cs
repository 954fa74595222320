using System.Collections.Immutable;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>A snapshot gives back the state that it was made of, with all that is in it, or it is no snapshot.</summary>
/// <remarks>By itself: what organizations share, the whole process shares, and other tests would put their texts in its place meanwhile.</remarks>
[Collection(Alone.Name)]
public sealed class SnapshotCodecTests
{
    private static readonly byte[] Hash = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    [Fact]
    public void a_state_with_anything_in_any_member_comes_back_as_it_was()
    {
        for (var seed = 0; seed < 2_000; seed++)
        {
            var state = Filled(seed);

            var kept = SnapshotCodec.Decode(SnapshotCodec.Encode(state, Hash));

            Assert.True(StateComparison.Difference(state, kept) is null, $"Seed {seed}: {StateComparison.Difference(state, kept)}");
            Assert.Equal(SnapshotCodec.Encode(state, Hash).Body, SnapshotCodec.Encode(kept, Hash).Body);
        }
    }

    [Fact]
    public void an_empty_state_comes_back_with_the_very_values_that_new_ones_have()
    {
        var kept = SnapshotCodec.Decode(SnapshotCodec.Encode(State.Empty("acme"), Hash));

        Assert.Equal(State.Empty("acme"), kept);
    }

    [Fact]
    public void decimals_keep_their_scale_and_arrays_that_are_none_stay_so()
    {
        var state = State.Empty("acme") with
        {
            Voided = default,
            Billing = BillingSlice.None with { Tax = new TaxTerms("VAT", 19.0m, true), Discount = new DiscountTerms(19.00m, null, null) },
        };

        var kept = SnapshotCodec.Decode(SnapshotCodec.Encode(state, Hash));

        Assert.Equal(("19.0", "19.00"), ($"{kept.Billing.Tax!.Rate}", $"{kept.Billing.Discount!.Percent}"));
        Assert.True(kept.Voided.IsDefault);
        Assert.False(kept.Grants.IsDefault);
    }

    [Fact]
    public void one_object_in_two_places_is_one_object_again()
    {
        var own = new StateFiller(1).Make<Subscription>();
        var state = State.Empty("acme") with { Subscriptions = SubscriptionSlice.None with { Own = own, Followed = [own] } };

        var kept = SnapshotCodec.Decode(SnapshotCodec.Encode(state, Hash));

        Assert.Same(kept.Subscriptions.Own, kept.Subscriptions.Followed.Single());
    }

    [Fact]
    public void texts_that_many_organizations_have_are_one_object_in_all_of_them()
    {
        var kept = Enumerable.Range(0, 2).Select(_ => SnapshotCodec.Decode(SnapshotCodec.Encode(State.Empty("acme") with { Usage = [new FeatureUse(new string("some-feature"), [], null)] }, Hash)));

        Assert.Single(kept.Select(k => k.Usage.Single().Feature).Distinct<object>(ReferenceEqualityComparer.Instance));
    }

    [Fact]
    public void a_state_that_cannot_come_back_as_it_is_makes_no_snapshot()
    {
        Assert.ThrowsAny<ArgumentException>(() => SnapshotCodec.Encode(State.Empty("\ud800"), Hash));
        var zone = DateTimeZone.ForOffset(Offset.FromHoursAndMinutes(1, 1));
        Assert.Throws<NotSupportedException>(() => SnapshotCodec.Encode(State.Empty("acme") with { Account = Account.None with { Zone = new Renamed(zone) } }, Hash));
    }

    // ---- damage

    [Fact]
    public void whatever_byte_of_it_changes_it_is_no_snapshot_any_more()
    {
        var snapshot = SnapshotCodec.Encode(Filled(3), Hash);
        Assert.NotNull(SnapshotCodec.TryDecode(snapshot));
        for (var i = 0; i < snapshot.Body.Length; i++)
        {
            var body = snapshot.Body.ToArray();
            body[i] ^= 1;
            Assert.Null(SnapshotCodec.TryDecode(snapshot with { Body = body }));
        }
        for (var length = 0; length < snapshot.Body.Length; length++) Assert.Null(SnapshotCodec.TryDecode(snapshot with { Body = snapshot.Body[..length] }));
    }

    [Fact]
    public void it_does_not_pass_for_one_of_another_organization_version_event_or_format()
    {
        var snapshot = SnapshotCodec.Encode(Filled(4), Hash);

        Assert.Null(SnapshotCodec.TryDecode(snapshot with { Organization = "zenith" }));
        Assert.Null(SnapshotCodec.TryDecode(snapshot with { Version = snapshot.Version + 1 }));
        Assert.Null(SnapshotCodec.TryDecode(snapshot with { Hash = new byte[32] }));
        Assert.Null(SnapshotCodec.TryDecode(snapshot with { Format = "another" }));
    }

    // ---- the format

    private sealed record Plain(int Number, string Text);

    private sealed record Renamed1(int Count, string Text);

    private sealed record Retyped(long Number, string Text);

    private sealed record Longer(int Number, string Text, Color Color);

    private sealed record Deeper(int Number, string Text, Color Color, ImmutableArray<Plain> Parts, Deeper? Next);

    private enum Color { Red, Green }

    private sealed record Open(object Anything);

    private record NotSealed(int Number);

    private sealed record Hidden(int Number, string Text) : NotSealed(Number);

    [Fact]
    public void any_other_member_name_or_type_is_another_format()
    {
        string[] shapes = [.. new[] { typeof(Plain), typeof(Renamed1), typeof(Retyped), typeof(Longer), typeof(Deeper) }.Select(t => StateShape.Of(t).Describe().Replace(t.FullName!, "", StringComparison.Ordinal))];

        Assert.Equal(shapes.Length, shapes.Distinct().Count());
        Assert.Equal(StateShape.Of(typeof(Deeper)).Describe(), StateShape.Of(typeof(Deeper)).Describe());
        Assert.Contains("Red 0, Green 1", StateShape.Of(typeof(Deeper)).Describe(), StringComparison.Ordinal);
        Assert.Matches("^[0-9a-f]{32}$", SnapshotCodec.Format);
        Assert.NotEqual(SnapshotCodec.Format, SnapshotCodec.FormatOf(StateShape.Of(typeof(Plain))));
    }

    [Fact]
    public void a_member_that_cannot_be_kept_is_named_before_anything_is()
    {
        Assert.Contains("Open.<Anything>", Assert.Throws<NotSupportedException>(() => StateShape.Of(typeof(Open))).Message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => StateShape.Of(typeof(NotSealed)));
        Assert.Throws<NotSupportedException>(() => StateShape.Of(typeof(Hidden)));
    }

    /// <summary>Everything in it is made up but what a snapshot is found by.</summary>
    private static State Filled(int seed) => new StateFiller(seed).Make<State>() with { Organization = "acme", Version = seed + 1 };

    /// <summary>A time zone that is none of the table's.</summary>
    private sealed class Renamed(DateTimeZone zone) : DateTimeZone("Europe/Berlin", true, zone.MinOffset, zone.MaxOffset)
    {
        public override NodaTime.TimeZones.ZoneInterval GetZoneInterval(Instant instant) => zone.GetZoneInterval(instant);
    }
}
