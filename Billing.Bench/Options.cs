using System.Globalization;

namespace Billing.Bench;

/// <summary>What the command line says.</summary>
public sealed record Options
{
    public const string Usage = """
        Usage: dotnet run -c Release --project Billing.Bench [-- options]

          --seconds N            how long each scenario is measured in each round (2)
          --rounds N             alternating rounds; the medians are reported (5)
          --only A,B             of check, consume, mixed, hot, many, batch, trace, fold, verify, decide, activation, memory,
                                 known, start, webhooks, tokens (all)
          --without A,B          of postgres, redis: as if it were not on this machine; silos: no cluster of them;
                                 alone: only the cluster
          --organizations N      organizations that are asked and charged (1000)
          --many N               organizations of the uniform and the Zipf scenario (10000)
          --rates N,N            requests a second of the mixed scenario (5000,20000,40000)
          --batch-connections N  connections that send batches (8)
          --batch-items N        usage items in a batch (500)
          --group-rows N         rows in a transaction of the raw insert (1000: about what the batches come to)
          --stream-events N      events in the stream that is folded, verified and activated (1000000)
          --residents N          organizations in memory at once (100000)
          --known N              organizations in the journal when they are activated (1000000)
          --webhooks N           webhooks in a flood of them (10000)
          --webhook-checks N     checks a second beside it (2000)
          --tokens N             wrong tokens that strangers try, in all rounds (1000000)
          --trace FILE           a CSV of real requests (TIMESTAMP,ContextTokens,GeneratedTokens), replayed in five times --seconds
          --json FILE            writes every round's figures to a file
          --svg FILE             draws the medians
          --folder PATH          where journals and databases are kept while measuring (the system's folder for temporary files)
          --api FILE             the Billing.Api.dll to start (the one built with this)
        """;

    private static readonly IReadOnlyList<string> Names = [.. Scenarios.Names, .. Books.Names, Activation.Name, Residents.Name, Known.Name, Starts.Name, Webhooks.Name, Tokens.Name];

    public double Seconds { get; private init; } = 2;
    public int Rounds { get; private init; } = 5;
    public IReadOnlySet<string> Only { get; private init; } = Names.ToHashSet();
    public IReadOnlySet<string> Without { get; private init; } = new HashSet<string>();
    public int Organizations { get; private init; } = 1_000;
    public int Many { get; private init; } = 10_000;
    public IReadOnlyList<int> Rates { get; private init; } = [5_000, 20_000, 40_000];
    public int BatchConnections { get; private init; } = 8;
    public int BatchItems { get; private init; } = 500;
    public int GroupRows { get; private init; } = 1_000;
    public int StreamEvents { get; private init; } = 1_000_000;
    public int ResidentCount { get; private init; } = 100_000;
    public int KnownCount { get; private init; } = 1_000_000;
    public int WebhookCount { get; private init; } = 10_000;
    public int WebhookCheckRate { get; private init; } = 2_000;
    public int TokenCount { get; private init; } = 1_000_000;
    public string? TraceFile { get; private init; }
    public string? JsonFile { get; private init; }
    public string? SvgFile { get; private init; }
    public string Folder { get; private init; } = Path.GetTempPath();
    public string? ApiFile { get; private init; }

    public TimeSpan Duration => TimeSpan.FromSeconds(Seconds);

    /// <summary>Long enough for connections to be accepted and for what the scenario before left running to end.</summary>
    public TimeSpan WarmUp => TimeSpan.FromSeconds(Math.Min(0.5, Seconds));

    public TimeSpan TraceDuration => 5 * Duration;

    /// <returns>Null when help was asked for.</returns>
    /// <exception cref="BenchException">An option is unknown or has a wrong value.</exception>
    public static Options? Parse(IReadOnlyList<string> args)
    {
        var options = new Options();
        for (var i = 0; i < args.Count; i += 2)
        {
            var name = args[i];
            if (name is "--help" or "-h") return null;
            if (i + 1 == args.Count) throw new BenchException($"'{name}' needs a value.\n{Usage}");
            var value = args[i + 1];
            options = name switch
            {
                "--seconds" => options with { Seconds = Number(name, value, 0.1, 3_600) },
                "--rounds" => options with { Rounds = Count(name, value, 1_000) },
                "--only" => options with { Only = Chosen(name, value, Names) },
                "--without" => options with { Without = Chosen(name, value, ["postgres", "redis", "silos", "alone"]) },
                "--organizations" => options with { Organizations = Count(name, value, RequestTemplate.MaxOrganizations) },
                "--many" => options with { Many = Count(name, value, RequestTemplate.MaxOrganizations) },
                "--rates" => options with { Rates = [.. value.Split(',').Select(v => Count(name, v, 1_000_000))] },
                "--batch-connections" => options with { BatchConnections = Count(name, value, 1_000) },
                "--batch-items" => options with { BatchItems = Count(name, value, 1_000) },
                "--group-rows" => options with { GroupRows = Count(name, value, 100_000) },
                "--stream-events" => options with { StreamEvents = Count(name, value, 100_000_000) },
                "--residents" => options with { ResidentCount = Count(name, value, 999_999) },
                "--known" => options with { KnownCount = Count(name, value, RequestTemplate.MaxOrganizations) },
                "--webhooks" => options with { WebhookCount = Count(name, value, 1_000_000) },
                "--webhook-checks" => options with { WebhookCheckRate = Count(name, value, 1_000_000) },
                "--tokens" => options with { TokenCount = Count(name, value, 100_000_000) },
                "--trace" => options with { TraceFile = value },
                "--json" => options with { JsonFile = value },
                "--svg" => options with { SvgFile = value },
                "--folder" => options with { Folder = value },
                "--api" => options with { ApiFile = value },
                _ => throw new BenchException($"There is no option '{name}'.\n{Usage}"),
            };
        }
        return options;
    }

    private static HashSet<string> Chosen(string name, string value, IReadOnlyList<string> from)
    {
        var chosen = value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).ToHashSet();
        return chosen.FirstOrDefault(c => !from.Contains(c)) is { } unknown ? throw new BenchException($"{name}: there is no '{unknown}'. There are {string.Join(", ", from)}.") : chosen;
    }

    private static int Count(string name, string value, int most) => (int)Number(name, value, 1, most);

    private static double Number(string name, string value, double least, double most) =>
        double.TryParse(value, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most
            ? number
            : throw new BenchException($"{name} is '{value}'; it must be a number from {least} to {most}.");
}
