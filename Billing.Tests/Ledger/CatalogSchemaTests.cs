using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json.Nodes;
using Billing.Ledger;
using static Billing.Tests.Ledger.TestCatalog;

namespace Billing.Tests.Ledger;

/// <summary>The schema, by which editors help, says the same as the reader, by which the service judges.</summary>
public class CatalogSchemaTests
{
    private static readonly TinySchema Schema = new(File.ReadAllText(Path.Combine(Repository.Root, "catalogs", "catalog.schema.json")));

    [Fact]
    public void the_schema_accepts_what_uses_every_field() => Assert.Empty(Schema.Problems(Full));

    [Fact]
    public void every_field_of_the_schema_is_described_and_used_by_the_full_catalog()
    {
        var used = Objects(JsonNode.Parse(Full)!).SelectMany(o => o.Object.Select(m => m.Key)).ToHashSet();
        foreach (var (path, schema) in Schema.All())
        {
            // Conditions speak of fields that are described where they stand.
            if (path.Split('/')[^1] is "if" or "then" or "else" || !schema.TryGetProperty("properties", out var properties)) continue;
            foreach (var property in properties.EnumerateObject())
            {
                Assert.True(property.Value.TryGetProperty("description", out var text), $"{path}/{property.Name} has no description.");
                Assert.True(text.GetString() is { Length: > 10 }, $"{path}/{property.Name}: {text}");
                Assert.True(used.Contains(property.Name), $"{path}/{property.Name} is not in the full catalog.");
            }
        }
    }

    [Fact]
    public void the_reader_and_the_schema_know_the_same_fields_in_every_place()
    {
        var names = Schema.All().Where(s => s.Schema.TryGetProperty("properties", out _))
            .SelectMany(s => s.Schema.GetProperty("properties").EnumerateObject().Select(p => p.Name))
            .Append("surprise").Distinct().ToList();
        var compared = 0;
        foreach (var (place, holder) in Objects(JsonNode.Parse(Full)!))
        {
            // Only its members' ids are free there.
            if (place is "$.features" or "$.plans" or "$.token_packages" || place.EndsWith(".features", StringComparison.Ordinal)) continue;
            // Whether a gauge has a window is not a matter of the name; the table of mistakes has it.
            foreach (var name in names.Where(n => !holder.ContainsKey(n) && !(place == "$.features.seats.meter" && n == "window")))
            {
                holder[name] = null;
                var json = holder.Root.ToJsonString();
                var path = $"{place}.{name}";
                var refused = Read(json).Problems.Any(p => p.Path == path && p.Message.StartsWith("Unknown", StringComparison.Ordinal));
                Assert.True(
                    refused == Schema.Problems(json).Contains($"{path}: is not allowed"),
                    $"{path}: the reader {(refused ? "refuses" : "knows")} it, and the schema does not agree.");
                if (name == "surprise") Assert.True(refused);
                holder.Remove(name);
                compared++;
            }
        }
        Assert.True(compared > 300, $"{compared}");
    }

    [Theory]
    [InlineData("grace_days", "0", true)]
    [InlineData("grace_days", "730", true)]
    [InlineData("grace_days", "731", false)]
    [InlineData("grace_days", "-1", false)]
    [InlineData("grace_days", "\"default\"", true)]
    [InlineData("grace_days", "\"3\"", false)]
    [InlineData("grace_days", "null", false)]
    [InlineData("currency", "\"eur\"", true)]
    [InlineData("currency", "\"EUR\"", false)]
    [InlineData("currency", "\"eur\\n\"", false)]
    [InlineData("currency", "\"\"", false)]
    [InlineData("features/a-_9", """{ "name": "a", "type": "static" }""", true)]
    [InlineData("features/a.b", """{ "name": "a", "type": "static" }""", false)]
    [InlineData("features/_a", """{ "name": "a", "type": "static" }""", false)]
    [InlineData("features/a\n", """{ "name": "a", "type": "static" }""", false)]
    [InlineData("features/a23456789012345678901234567890123456789012345678901234567890abcd",
        """{ "name": "a", "type": "static" }""", true)]
    [InlineData("features/a23456789012345678901234567890123456789012345678901234567890abcde",
        """{ "name": "a", "type": "static" }""", false)]
    [InlineData("features/seats/meter/decimals", "0", true)]
    [InlineData("features/seats/meter/decimals", "9", true)]
    [InlineData("features/seats/meter/decimals", "10", false)]
    [InlineData("features/seats/meter/decimals", "-1", false)]
    [InlineData("features/seats/meter/window", "\"month\"", false)]
    [InlineData("features/sso/token_cost", "1", false)]
    [InlineData("features/sso/mode", "\"block\"", false)]
    [InlineData("features/jobs/token_cost", "1000000", true)]
    [InlineData("features/jobs/token_cost", "1000001", false)]
    [InlineData("features/jobs/token_cost", "0", false)]
    [InlineData("features/jobs/unit_price", "\"0\"", true)]
    [InlineData("features/jobs/unit_price", "\"0.000000000001\"", true)]
    [InlineData("features/jobs/unit_price", "\"0.0000000000001\"", false)]
    [InlineData("features/jobs/unit_price", "\"1.0000000000000\"", false)]
    [InlineData("features/jobs/unit_price", "\".5\"", true)]
    [InlineData("features/jobs/unit_price", "\"5.\"", true)]
    [InlineData("features/jobs/unit_price", "\".\"", false)]
    [InlineData("features/jobs/unit_price", "\"\"", false)]
    [InlineData("features/jobs/unit_price", "\"1000000\"", true)]
    [InlineData("features/jobs/unit_price", "\"0001000000.00\"", true)]
    [InlineData("features/jobs/unit_price", "\"1000000.01\"", false)]
    [InlineData("features/jobs/unit_price", "\"1000001\"", false)]
    [InlineData("features/jobs/unit_price", "\"999999.999999999999\"", true)]
    [InlineData("features/jobs/unit_price", "\"1,000\"", false)]
    [InlineData("features/jobs/unit_price", "\"1e3\"", false)]
    [InlineData("features/jobs/unit_price", "\" 1\"", false)]
    [InlineData("features/jobs/unit_price", "\"+1\"", false)]
    [InlineData("features/jobs/unit_price", "1", false)]
    [InlineData("plans/pro/prices/0/amount", "0", true)]
    [InlineData("plans/pro/prices/0/amount", "99999999", true)]
    [InlineData("plans/pro/prices/0/amount", "100000000", false)]
    [InlineData("plans/pro/prices/0/amount", "-1", false)]
    [InlineData("plans/pro/prices/0/amount", "1.5", false)]
    [InlineData("plans/pro/prices/0/currency", "\"gbp\"", true)]
    [InlineData("plans/pro/prices/0/currency", "\"gb\"", false)]
    [InlineData("plans/pro/name", "\"\"", false)]
    [InlineData("plans/pro/invite_only", "0", false)]
    [InlineData("plans/pro/features/jobs", "\"unlimited\"", true)]
    [InlineData("plans/pro/features/jobs", "[1]", false)]
    [InlineData("plans/pro/features/jobs", "null", false)]
    [InlineData("plans/pro/features/jobs", "{}", false)]
    [InlineData("plans/pro/features/jobs/allowance", "0", true)]
    [InlineData("plans/pro/features/jobs/allowance", "-0.5", false)]
    [InlineData("plans/pro/features/jobs/allowance", "\"none\"", false)]
    [InlineData("plans/pro/features/seats/allowance", "1000000000000000", true)]
    [InlineData("plans/pro/features/seats/allowance", "1000000000000001", false)]
    [InlineData("plans/pro/features/jobs/rate_limits/0/limit", "0", true)]
    [InlineData("plans/pro/features/jobs/rate_limits/0/limit", "\"unlimited\"", false)]
    [InlineData("plans/pro/features/jobs/rate_limits/0/window", "\"lifetime\"", false)]
    [InlineData("token_packages/small/tokens", "1", true)]
    [InlineData("token_packages/small/tokens", "1000000000000000", true)]
    [InlineData("token_packages/small/tokens", "1000000000000001", false)]
    [InlineData("token_packages/small/prices", "{}", false)]
    [InlineData("plans", "{}", false)]
    public void the_reader_and_the_schema_have_the_same_limits(string place, string json, bool isAllowed)
    {
        // The long form, where a rule is about a member of it.
        var catalog = With(place, json, With("plans/pro/features/seats", """{ "allowance": 3 }"""));
        var problems = Read(catalog).Problems;
        Assert.True(isAllowed == (problems.Count == 0), $"The reader: {string.Join(' ', problems)}");
        var found = Schema.Problems(catalog);
        Assert.True(isAllowed == (found.Count == 0), $"The schema: {string.Join(' ', found)}");
    }

    [Fact]
    public void texts_have_at_most_500_characters_for_both()
    {
        foreach (var (length, isAllowed) in new[] { (500, true), (501, false) })
        {
            var json = With("plans/pro/description", $"\"{new string('x', length)}\"");
            Assert.Equal(isAllowed, Read(json).Problems.Count == 0);
            Assert.Equal(isAllowed, Schema.Problems(json).Count == 0);
        }
    }

    [Theory]
    [InlineData("features", CatalogReader.MaxFeatures, """{ "name": "x", "type": "boolean" }""")]
    [InlineData("plans", CatalogReader.MaxPlans, """{ "name": "x" }""")]
    [InlineData("token_packages", CatalogReader.MaxTokenPackages, """{ "name": "x", "tokens": 1, "prices": [] }""")]
    public void both_stop_at_the_same_number_of_entries(string place, int most, string entry)
    {
        var json = """{ "features": {}, "plans": { "x": { "name": "x" } } }""";
        var entries = Enumerable.Range(1, most).Select(i => $"\"x{i.ToString(CultureInfo.InvariantCulture)}\": {entry}").ToList();
        var within = With(place, $"{{ {string.Join(", ", entries)} }}", json);
        Assert.Empty(Read(within).Problems);
        Assert.Empty(Schema.Problems(within));

        var past = With($"{place}/last", entry, within);
        Assert.Equal(new CatalogProblem($"$.{place}", $"At most {most} are allowed."), Assert.Single(Read(past).Problems));
        Assert.Equal($"$.{place}: has too many members", Assert.Single(Schema.Problems(past)));
    }

    [Fact]
    public void the_choices_of_the_schema_are_those_of_the_code()
    {
        Same<LimitMode>("mode");
        Same<Window>("window");
        Same<FeatureType>("feature", "type");
        Same<Aggregation>("meter", "aggregation");
        Same<BillingInterval>("price", "interval");

        static void Same<T>(string definition, string? property = null) where T : struct, Enum
        {
            var schema = Schema.Definition(definition);
            if (property is not null) schema = schema.GetProperty("properties").GetProperty(property);
            var choices = schema.GetProperty("enum").EnumerateArray().Select(v => v.GetString()!);
            Assert.Equal(Enum.GetValues<T>().Select(v => Spelling.Of(v)), choices);
        }
    }

    [Fact]
    public void the_ids_of_the_schema_are_those_of_the_code() =>
        Assert.Equal(Ids.CatalogPattern, Schema.Definition("id").GetProperty("pattern").GetString());

    [Fact]
    public void a_keyword_that_the_small_validator_does_not_know_is_not_passed_over() =>
        Assert.Throws<NotSupportedException>(() => new TinySchema("""{ "properties": { "a": { "multipleOf": 2 } } }"""));

    /// <summary>Every object within, with its path as the reader writes it.</summary>
    private static ImmutableArray<(string Place, JsonObject Object)> Objects(JsonNode node, string place = "$") => node switch
    {
        JsonObject holder => [(place, holder), .. holder.SelectMany(m => m.Value is null ? [] : Objects(m.Value, $"{place}.{m.Key}"))],
        JsonArray list => [.. list.SelectMany((item, i) => Objects(item!, $"{place}[{i}]"))],
        _ => [],
    };
}
