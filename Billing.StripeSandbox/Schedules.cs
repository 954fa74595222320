using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>What a subscription becomes later: phases, one after the other.</summary>
internal static class Schedules
{
    private const string Phases =
        $"phases[start_date@ end_date# duration{{interval!(day|week|month|year) interval_count#}} items![price! quantity# metadata{{*}}] proration_behavior(create_prorations|always_invoice|none) metadata{{*}} description collection_method(charge_automatically|send_invoice) currency]";

    public static readonly Operation[] Operations =
    [
        new("POST", "/subscription_schedules", "from_subscription! metadata{*}", Create),
        new("GET", "/subscription_schedules", "customer created{gt# gte# lt# lte#} limit# starting_after ending_before", c => c.PageOf("subscription_schedule", "customer")),
        new("GET", "/subscription_schedules/{id}", "", c => c.S.Find("subscription_schedule", c.Id)),
        new("POST", "/subscription_schedules/{id}", $"{Phases} end_behavior(cancel|release) proration_behavior(create_prorations|always_invoice|none) metadata{{*}}", Update),
        new("POST", "/subscription_schedules/{id}/release", "preserve_cancel_date?", Release),
        new("POST", "/subscription_schedules/{id}/cancel", "invoice_now? prorate?", Cancel),
    ];

    public static long? NextDue(Sandbox s, JsonObject schedule) => schedule.Text("status") == "active" ? schedule.Number("current_phase.end_date") : null;

    /// <summary>A phase that ends with a billing period ends as the period does; one that ends in between is a change of the subscription.</summary>
    public static void RunDue(Sandbox s, JsonObject schedule)
    {
        var subscription = s.Find("subscription", schedule.Text("subscription"));
        if (Subscriptions.PeriodEnd(subscription) <= s.Now) SubscriptionClock.RunDue(s, subscription);
        if (!(NextDue(s, schedule) <= s.Now)) return;
        var next = Next(schedule);
        if (next is not null) ChangeItems(s, subscription, next);
        s.Change(subscription, o => Enter(s, o), "customer.subscription.updated");
    }

    /// <summary>Goes on to the phase that begins now, or ends with the last one. The items are the phase's from here on.</summary>
    public static void Enter(Sandbox s, JsonObject subscription)
    {
        if (s.Store.Find(subscription.Text("schedule")) is not { } schedule || schedule.Number("current_phase.end_date") > Subscriptions.PeriodEnd(subscription) && schedule.Number("current_phase.end_date") > s.Now) return;
        if (Next(schedule) is not { } next)
        {
            if (schedule.Text("end_behavior") == "cancel") subscription["cancel_at"] = s.Now;
            Finish(s, schedule, subscription, "released");
            return;
        }
        var items = Subscriptions.ItemsOf(subscription);
        if (!IsSame(items, next))
        {
            var made = next.Each("items").Select((asked, place) =>
            {
                // An item that goes on keeps its id.
                var item = place < items.Count ? items[place].Copy() : Subscriptions.NewItem(s, subscription.Text("id")!, s.Find("price", asked.Text("price")), 1);
                Subscriptions.SetPrice(item, s.Find("price", asked.Text("price")));
                return (JsonNode)item.Set("quantity", asked.Number("quantity") ?? 1);
            });
            subscription.Set("items.data", new JsonArray([.. made]));
        }
        s.Change(schedule, o => o["current_phase"] = Bounds(next), "subscription_schedule.updated");
    }

    public static void OnEnd(Sandbox s, JsonObject subscription)
    {
        if (s.Store.Find(subscription.Text("schedule")) is { } schedule) Finish(s, schedule, subscription, "canceled");
    }

    private static void Finish(Sandbox s, JsonObject schedule, JsonObject subscription, string status)
    {
        subscription["schedule"] = null;
        s.Change(schedule, o =>
        {
            o.Set("status", status).Set($"{status}_at", s.Now).Set("current_phase", null);
            if (status == "released") o.Set("released_subscription", o.Text("subscription")).Set("subscription", null);
        });
        s.Emit($"subscription_schedule.{status}", schedule);
    }

    private static JsonObject? Next(JsonObject schedule) => schedule.Each("phases").FirstOrDefault(p => p.Number("start_date") >= schedule.Number("current_phase.end_date"));

    private static bool IsSame(IReadOnlyList<JsonObject> items, JsonObject phase) =>
        items.Select(i => (i.Text("price.id"), i.Number("quantity"))).SequenceEqual(phase.Each("items").Select(i => (i.Text("price"), i.Number("quantity"))));

    private static void ChangeItems(Sandbox s, JsonObject subscription, JsonObject phase)
    {
        var items = Subscriptions.ItemsOf(subscription);
        if (IsSame(items, phase)) return;
        var asked = phase.Each("items").Select((p, place) =>
        {
            var item = new JsonObject { ["price"] = p.Text("price"), ["quantity"] = p.Number("quantity") };
            if (place < items.Count) item["id"] = items[place].Text("id");
            return (JsonNode)item;
        }).Concat(items.Skip(phase.Each("items").Count).Select(i => new JsonObject { ["id"] = i.Text("id"), ["deleted"] = true }));
        SubscriptionChanges.Apply(s, subscription, new JsonObject { ["items"] = new JsonArray([.. asked]), ["proration_behavior"] = phase.Text("proration_behavior"), ["off_session"] = true }, _ => { });
    }

    private static JsonObject Bounds(JsonObject phase) => new() { ["end_date"] = phase.Number("end_date"), ["start_date"] = phase.Number("start_date") };

    // ---- asked for

    /// <summary>From a subscription as it is: its one phase is the period that runs.</summary>
    private static JsonObject Create(Call c)
    {
        var s = c.S;
        var subscription = s.Find("subscription", c.P.Text("from_subscription"), "from_subscription");
        if (Subscriptions.HasEnded(subscription)) throw StripeError.Invalid("You cannot migrate a subscription that is already in a terminal state.", "from_subscription");
        if (subscription.Text("schedule") is not null) throw StripeError.Invalid("You cannot migrate a subscription that is already attached to a schedule.", "from_subscription");
        var schedule = s.New("subscription_schedule");
        var phase = Phase(subscription.Text("currency"), Subscriptions.ItemsOf(subscription)[0].Number("current_period_start")!.Value, Subscriptions.PeriodEnd(subscription),
            Subscriptions.ItemsOf(subscription).Select(i => PhaseItem(i.Text("price.id"), i.Number("quantity"), i.Object("metadata"))));
        schedule.Set("customer", subscription.Text("customer")).Set("subscription", subscription.Text("id")).Set("phases", new JsonArray(phase)).Set("current_phase", Bounds(phase)).Set("billing_mode", subscription["billing_mode"]);
        schedule.Merge(c.P);
        s.Change(subscription, o => o["schedule"] = schedule.Text("id"), "customer.subscription.updated");
        return s.Add(schedule, "subscription_schedule.created");
    }

    private static JsonObject Update(Call c)
    {
        var s = c.S;
        var schedule = Active(c);
        var subscription = s.Find("subscription", schedule.Text("subscription"));
        var phases = c.P.Has("phases") ? Planned(c, schedule, subscription) : null;
        s.Change(schedule, o =>
        {
            if (phases is not null)
            {
                o["phases"] = new JsonArray([.. phases]);
                o["current_phase"] = Bounds(phases.First(p => p.Number("start_date") <= s.Now && p.Number("end_date") > s.Now));
            }
            o.Take(c.P, "end_behavior").Merge(c.P);
        }, "subscription_schedule.updated");
        if (phases is not null) ChangeItems(s, subscription, phases.First(p => p.Number("start_date") <= s.Now && p.Number("end_date") > s.Now));
        return schedule;
    }

    /// <summary>Each phase begins where the one before it ends; how long it lasts is said, or it is one billing period.</summary>
    private static List<JsonObject> Planned(Call c, JsonObject schedule, JsonObject subscription)
    {
        var phases = new List<JsonObject>();
        foreach (var (place, sent) in c.P.Each("phases").Index())
        {
            var start = sent.Number("start_date") ?? (sent.Text("start_date") == "now" ? c.S.Now : phases.Count > 0 ? phases[^1].Number("end_date")!.Value : schedule.Number("current_phase.start_date")!.Value);
            if (phases.Count > 0 && start != phases[^1].Number("end_date")) throw StripeError.Invalid("The start date of a phase must be the end date of the phase before it.", $"phases[{place}][start_date]");
            if (phases.Count == 0 && start != schedule.Number("current_phase.start_date"))
                throw StripeError.Invalid("You can not modify the start date of the current phase.", $"phases[{place}][start_date]");
            var price = c.S.Find("price", sent.Each("items")[0].Text("price"), $"phases[{place}][items][0][price]");
            var end = sent.Number("end_date") ?? (sent.Object("duration") is { } duration
                ? Periods.Add(start, duration.Text("interval")!, (int)(duration.Number("interval_count") ?? 1))
                : Periods.Add(start, price.Text("recurring.interval")!, (int)price.Number("recurring.interval_count")!.Value));
            if (end <= start) throw StripeError.Invalid("The end date of a phase must come after its start date.", $"phases[{place}][end_date]");
            var items = sent.Each("items").Select((i, at) => PhaseItem(c.S.Find("price", i.Text("price"), $"phases[{place}][items][{at}][price]").Text("id"), i.Number("quantity") ?? 1, i.Object("metadata")));
            var phase = Phase(subscription.Text("currency"), start, end, items);
            phase.Set("proration_behavior", sent.Text("proration_behavior") ?? c.P.Text("proration_behavior") ?? "create_prorations").Merge(sent);
            phases.Add(phase);
        }
        return phases.Any(p => p.Number("start_date") <= c.S.Now && p.Number("end_date") > c.S.Now) ? phases : throw StripeError.Invalid("One of the phases must contain the present time.", "phases");
    }

    private static JsonObject Release(Call c)
    {
        var schedule = Active(c);
        c.S.Change(c.S.Find("subscription", schedule.Text("subscription")), o => Finish(c.S, schedule, o, "released"), "customer.subscription.updated");
        return schedule;
    }

    private static JsonObject Cancel(Call c)
    {
        var schedule = Active(c);
        Subscriptions.Cancel(c.S, c.S.Find("subscription", schedule.Text("subscription")), c.P);
        return schedule;
    }

    private static JsonObject Active(Call c)
    {
        var schedule = c.S.Find("subscription_schedule", c.Id);
        return schedule.Text("status") == "active" ? schedule
            : throw StripeError.Invalid($"You cannot update a subscription schedule that is currently in the `{schedule.Text("status")}` status.", code: "status_transition_invalid");
    }

    private static JsonObject Phase(string? currency, long start, long end, IEnumerable<JsonObject> items)
    {
        var phase = Sandbox.Shape("_phase");
        return phase.Set("currency", currency).Set("start_date", start).Set("end_date", end).Set("items", new JsonArray([.. items]));
    }

    private static JsonObject PhaseItem(string? price, long? quantity, JsonObject? metadata)
    {
        var item = Sandbox.Shape("_phase_item").Set("price", price).Set("quantity", quantity);
        if (metadata is not null) item["metadata"] = metadata.DeepClone();
        return item;
    }
}
