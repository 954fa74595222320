using System.Globalization;
using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>Coupons, the codes that stand for them, and the discounts that they become.</summary>
internal static class Coupons
{
    /// <summary>How a discount is asked for.</summary>
    public const string Discounts = "discounts[coupon promotion_code discount]";

    public static readonly Operation[] Operations =
    [
        new("POST", "/coupons", "id name amount_off# currency percent_off duration(forever|once|repeating) duration_in_months# max_redemptions# redeem_by# metadata{*}", Create),
        new("GET", "/coupons", "limit# starting_after ending_before", c => c.PageOf("coupon")),
        new("GET", "/coupons/{id}", "", c => c.S.Find("coupon", c.Id)),
        new("POST", "/promotion_codes", "promotion!{type!(coupon) coupon!} code active? customer expires_at# max_redemptions# metadata{*}", CreateCode),
        new("GET", "/promotion_codes", "code customer active? limit# starting_after ending_before", c =>
            c.Page(c.S.Store.Of("promotion_code").Where(o => c.P.Text("code") is not { } code || string.Equals(o.Text("code"), code, StringComparison.OrdinalIgnoreCase)))),
        new("GET", "/promotion_codes/{id}", "", c => c.S.Find("promotion_code", c.Id)),
    ];

    /// <summary>The discounts that were asked for, made for this customer; their ids are what objects refer to.</summary>
    public static JsonArray Make(Sandbox s, JsonObject sent, string customer, string? subscription)
    {
        var ids = new JsonArray();
        foreach (var (place, asked) in sent.Each("discounts").Index())
        {
            if (asked.Text("discount") is { } kept)
            {
                ids.Add(s.Find("discount", kept, $"discounts[{place}][discount]").Text("id"));
                continue;
            }
            var code = asked.Text("promotion_code") is { } promo ? s.Find("promotion_code", promo, $"discounts[{place}][promotion_code]") : null;
            var coupon = s.Find("coupon", code?.Text("promotion.coupon") ?? asked.Text("coupon"), $"discounts[{place}][coupon]");
            ids.Add(Make(s, coupon, code, customer, subscription).Text("id"));
        }
        return ids;
    }

    public static JsonObject Make(Sandbox s, JsonObject coupon, JsonObject? code, string customer, string? subscription)
    {
        if (!coupon.Flag("valid") || coupon.Number("redeem_by") <= s.Now) throw StripeError.Invalid($"Coupon expired: {coupon.Text("id")}", "discounts", "coupon_expired");
        var discount = s.New("discount");
        discount.Set("customer", customer).Set("subscription", subscription).Set("start", s.Now).Set("source.coupon", coupon.Text("id")).Set("promotion_code", code?.Text("id"));
        if (coupon.Text("duration") == "repeating") discount["end"] = Periods.Add(s.Now, "month", (int)(coupon.Number("duration_in_months") ?? 1));
        foreach (var redeemed in (JsonObject?[])[coupon, code])
            if (redeemed is not null)
                s.Change(redeemed, o =>
                {
                    o["times_redeemed"] = o.Number("times_redeemed") + 1;
                    if (o.Number("max_redemptions") is { } most && o.Number("times_redeemed") >= most) o[o.Has("valid") ? "valid" : "active"] = false;
                });
        return s.Add(discount, "customer.discount.created");
    }

    /// <summary>What a coupon takes off an amount.</summary>
    public static long Off(JsonObject coupon, long amount) => amount <= 0 ? 0 : coupon.Number("amount_off") is { } off ? Math.Min(off, amount)
        : (long)Math.Round(amount * decimal.Parse(coupon["percent_off"]!.ToJsonString(), CultureInfo.InvariantCulture) / 100, MidpointRounding.AwayFromZero);

    /// <summary>The code that a customer typed in.</summary>
    public static JsonObject? Typed(Sandbox s, string code) => s.Store.Of("promotion_code").FirstOrDefault(o =>
        o.Flag("active") && string.Equals(o.Text("code"), code.Trim(), StringComparison.OrdinalIgnoreCase) && !(o.Number("expires_at") <= s.Now) && s.Find("coupon", o.Text("promotion.coupon")).Flag("valid"));

    private static JsonObject Create(Call c)
    {
        if (c.P.Number("amount_off") is null == c.P.Text("percent_off") is null) throw StripeError.Invalid("You must pass either `percent_off` or `amount_off`.", "percent_off", "parameter_missing");
        if (c.P.Number("amount_off") is not null && c.P.Text("currency") is null) throw StripeError.Invalid("You must pass `currency` when passing `amount_off`.", "currency", "parameter_missing");
        var coupon = c.S.New("coupon");
        coupon["id"] = c.P.Text("id") ?? c.S.NewId("c", 8)[2..];
        if (c.S.Store.Find(coupon.Text("id")) is not null) throw StripeError.Invalid("Coupon already exists.", "id", "resource_already_exists");
        coupon.Take(c.P, "name", "amount_off", "currency", "duration", "duration_in_months", "max_redemptions", "redeem_by").Merge(c.P);
        if (c.P.Text("percent_off") is { } percent)
            coupon["percent_off"] = decimal.TryParse(percent, CultureInfo.InvariantCulture, out var number) && number is > 0 and <= 100 ? number : throw StripeError.Invalid($"Invalid decimal: {percent}", "percent_off");
        return c.S.Add(coupon, "coupon.created");
    }

    private static JsonObject CreateCode(Call c)
    {
        var code = c.S.New("promotion_code");
        code.Set("code", c.P.Text("code") ?? c.S.NewId("c", 8)[2..].ToUpperInvariant()).Set("promotion.coupon", c.S.Find("coupon", c.P.Text("promotion.coupon"), "promotion[coupon]").Text("id"));
        code.Take(c.P, "active", "customer", "expires_at", "max_redemptions").Merge(c.P);
        return c.S.Add(code, "promotion_code.created");
    }
}
