using System.Reflection;
using System.Text.Json.Nodes;

namespace Billing.StripeSandbox;

/// <summary>One account at Stripe: its objects, its clock, and what happens when. Everything runs under one lock.</summary>
internal sealed class Sandbox
{
    private const string Letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    private static readonly JsonObject Shapes = ReadShapes();

    private readonly SandboxClock clock;
    private readonly Random random;
    private readonly PriorityQueue<(string Id, long At), (long At, long Turn)> agenda = new();
    private long turns;

    public Sandbox(SandboxOptions options, SandboxClock clock)
    {
        Options = options;
        this.clock = clock;
        random = options.Seed is { } seed ? new Random(seed) : new Random();
    }

    private Sandbox(Sandbox of, string customer)
    {
        (Options, clock, random, BaseUrl) = (of.Options, of.clock, of.random, of.BaseUrl);
        Store = of.Store.CopyFor(customer);
        IsPreview = true;
    }

    public SandboxOptions Options { get; }

    public Store Store { get; } = new();

    public Lock Gate { get; } = new();

    /// <summary>Tries something on copies: nothing is charged, nobody is told.</summary>
    public bool IsPreview { get; }

    public string BaseUrl { get; set; } = "";

    /// <summary>Unix seconds.</summary>
    public long Now => clock.Now;

    /// <summary>Who is asking: goes into the events that come of it. Null for what happens by itself.</summary>
    public (string Id, string? IdempotencyKey)? Request { get; set; }

    public event Action<JsonObject>? Happened;

    /// <summary>Something is other than when it was last written to a file.</summary>
    public bool IsChanged { get; set; }

    public Sandbox PreviewFor(string customer) => new(this, customer);

    public string NewId(string prefix, int length = 24) => $"{prefix}_{new string(random.GetItems<char>(Letters, length))}";

    public static JsonObject Shape(string name) => Shapes[name]!.AsObject().Copy();

    /// <summary>A new object of a type, with every member that it has, not stored yet.</summary>
    public JsonObject New(string type)
    {
        var o = Shape(type);
        o["id"] = NewId(Kinds.PrefixOf(type));
        if (o.Has("created")) o["created"] = Now;
        return o;
    }

    public JsonObject Add(JsonObject o, string? happened = null)
    {
        Store.Add(o);
        Schedule(o);
        if (happened is not null) Emit(happened, o);
        return o;
    }

    /// <summary>Changes an object and tells so, with the old values of what changed.</summary>
    public void Change(JsonObject o, Action<JsonObject> how, string? happened = null)
    {
        var before = happened is null || IsPreview ? null : o.Presented()!.AsObject();
        how(o);
        Schedule(o);
        if (before is null) return;
        var previous = new JsonObject();
        var after = o.Presented()!.AsObject();
        foreach (var name in before.Select(m => m.Key).Union(after.Select(m => m.Key)))
            if (!JsonNode.DeepEquals(before[name], after[name])) previous[name] = before[name]?.DeepClone();
        if (previous.Count > 0) Emit(happened!, o, previous);
    }

    public void Emit(string type, JsonObject o, JsonObject? previous = null)
    {
        if (IsPreview) return;
        var e = New("event");
        e.Set("api_version", Api.Version).Set("type", type).Set("data.object", o.Presented());
        // Only updates say what there was before.
        if (previous is not null && type.EndsWith(".updated", StringComparison.Ordinal)) e.Set("data.previous_attributes", previous);
        e.Set("request.id", Request?.Id).Set("request.idempotency_key", Request?.IdempotencyKey);
        Store.Add(e);
        Happened?.Invoke(e);
    }

    /// <param name="param">The parameter that named it, for the error.</param>
    public JsonObject Find(string type, string? id, string param = "id")
    {
        var found = Store.Find(id);
        return found?.Text("object") == type ? found : throw StripeError.Missing(type, id ?? "", param);
    }

    // ---- what falls due

    public long? NextDue => agenda.TryPeek(out var next, out _) ? next.At : null;

    /// <summary>Does what is due first. What it leads to is on the agenda again.</summary>
    public void RunNext()
    {
        if (!agenda.TryDequeue(out var next, out _)) return;
        // An entry that the object has outlived stays on the agenda until its time comes, and then means nothing.
        if (Store.Find(next.Id) is not { } o || Kinds.NextDue(this, o) != next.At) return;
        clock.During(next.At, () => Kinds.RunDue(this, o));
        if (Kinds.NextDue(this, o) is { } again && again <= next.At) throw new InvalidOperationException($"What was due for {next.Id} at {next.At} is not done.");
    }

    /// <summary>Puts everything on the agenda again, after it was read from a file.</summary>
    public void ScheduleAll()
    {
        foreach (var o in Store.All) Schedule(o);
    }

    private void Schedule(JsonObject o)
    {
        IsChanged = true;
        if (!IsPreview && Kinds.NextDue(this, o) is { } at) agenda.Enqueue((o.Text("id")!, at), (at, turns++));
    }

    private static JsonObject ReadShapes()
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("Shapes.json")!;
        return JsonNode.Parse(stream)!.AsObject();
    }
}
