using System.Text;

namespace Billing.Bench;

/// <summary>One thing that is measured: a request, how many connections send it, and what is expected of it.</summary>
/// <param name="EventsPerRequest">Usage records that each answer acknowledges; 0 when it records none.</param>
/// <param name="Minimum">The least ratio to the baseline that is expected; null where nothing is promised.</param>
public sealed record Scenario(string Name, int Connections, RequestTemplate Request, int EventsPerRequest, double? Minimum)
{
    public static readonly IReadOnlyList<string> Names = ["constant", "check", "consume", "batch"];

    public const string RawName = "raw group insert";

    private const string Feature = "characters";

    /// <summary>Ten million characters a month for each organization: nothing is denied for want of quota.</summary>
    private const string Plan = "enterprise";

    /// <summary>The batch is compared with what SQLite does by itself, the others with the constant answer.</summary>
    public bool HasRawBaseline => Name == "batch";

    /// <summary>In the order in which a round runs them: each beside its baseline.</summary>
    public static IEnumerable<Scenario> All(Options options)
    {
        var (check, consume) = (options.Only.Contains("check"), options.Only.Contains("consume"));
        foreach (var connections in options.Connections)
        {
            // The promises are made for one number of connections each; at the other the ratio is shown for itself.
            if (check || consume || options.Only.Contains("constant")) yield return Constant(connections);
            if (check) yield return Check(connections, connections == 32 ? 0.8 : null);
            if (consume) yield return Consume(connections, connections == 256 ? 0.35 : null);
        }
        if (options.Only.Contains("batch")) yield return Batch(options.BatchConnections, options.BatchItems);
    }

    /// <summary>Not measured: opens the organizations on their plan.</summary>
    public static Scenario Opening(Options options) => new("opening", Math.Min(32, options.Organizations), RequestTemplate.Post(
        "/v1/organizations", $$"""{"id":"{{RequestTemplate.OrganizationMark}}","plan":"{{Plan}}"}""", 201, ""), 0, null);

    private static Scenario Constant(int connections) => new("constant", connections, RequestTemplate.Get("/v1/ping", """{"ok":true"""), 0, null);

    private static Scenario Check(int connections, double? minimum) => new("check", connections, RequestTemplate.Get(
        $"/v1/organizations/{RequestTemplate.OrganizationMark}/entitlements/{Feature}", $$"""{"feature":"{{Feature}}","has_access":true"""), 0, minimum);

    private static Scenario Consume(int connections, double? minimum) => new("consume", connections, RequestTemplate.Post(
        $"/v1/organizations/{RequestTemplate.OrganizationMark}/usage", Item(), 201, """{"id":"ur_"""), 1, minimum);

    private static Scenario Batch(int connections, int items)
    {
        var body = new StringBuilder("""{"items":[""").AppendJoin(',', Enumerable.Repeat(Item(), items)).Append("]}");
        // A batch answers 200 whatever became of its items, so the count in the body is what says that all were recorded.
        return new("batch", connections, RequestTemplate.Post($"/v1/organizations/{RequestTemplate.OrganizationMark}/usage/batch", body.ToString(), 200,
            $$"""{"recorded":{{items}},"replayed":0,"refused":0,"""), items, 0.5);
    }

    private static string Item() => $$"""{"feature":"{{Feature}}","quantity":1}""";
}
