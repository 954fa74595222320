using System.Collections.Frozen;
using System.Globalization;
using Billing.Silo;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Microsoft.FeatureManagement;
using Microsoft.FeatureManagement.FeatureFilters;

namespace Billing.Api;

/// <summary>
/// What operators switch on and off while the service runs, each for a percentage of the organizations. Kept in the database; what
/// was never set there is as the configuration says (<c>FeatureManagement</c>). Asked from memory.
/// </summary>
public sealed class Flags : IFeatureDefinitionProvider
{
    /// <summary>Off: nobody subscribes who has no subscription. Whoever has one notices nothing.</summary>
    public const string NewSubscriptions = "new_subscriptions";

    /// <summary>Off: front ends show nothing to buy to the organization, and denials name no upgrade and no token package. Its data stays as it is.</summary>
    public const string BillingV2 = "billing_v2";

    public static readonly IReadOnlyList<string> Names = [NewSubscriptions, BillingV2];

    private sealed record Value(FeatureDefinition Definition, FlagView View);

    private readonly FlagStore store;
    private readonly FrozenDictionary<string, int> defaults;
    private readonly FeatureManager manager;
    private FrozenDictionary<string, Value> values = FrozenDictionary<string, Value>.Empty;

    private Flags(FlagStore store, FrozenDictionary<string, int> defaults)
    {
        (this.store, this.defaults) = (store, defaults);
        // The library's filter hashes the organization and the flag's name to a point from 0 to 100. It is in when the point is below the
        // percentage: so nobody leaves as the percentage grows, and two flags do not always meet the same ones first.
        manager = new FeatureManager(this) { FeatureFilters = [new ContextualTargetingFilter(Options.Create(new TargetingEvaluationOptions()), NullLoggerFactory.Instance)] };
    }

    /// <exception cref="SettingsException">A default is neither true, false nor a percentage.</exception>
    public static async Task<Flags> Open(FlagStore store, IConfiguration configuration)
    {
        var flags = new Flags(store, Names.ToFrozenDictionary(name => name, name => Default(name, configuration[$"FeatureManagement:{name}"])));
        await flags.Refresh();
        return flags;
    }

    /// <summary>In the order of <see cref="Names"/>.</summary>
    public IReadOnlyList<FlagView> All => [.. Names.Select(name => Volatile.Read(ref values)[name].View)];

    /// <summary>From memory, at once.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    public bool IsOn(string name, string organization)
    {
        // Neither the definition nor the filter ever waits for anything.
        var answer = manager.IsEnabledAsync(name, new TargetingContext { UserId = organization, Groups = [] });
        return answer.IsCompleted ? answer.GetAwaiter().GetResult() : throw new InvalidOperationException($"The flag {name} is not in memory.");
    }

    /// <summary>In force here at once, in other processes when they look next.</summary>
    public async Task<FlagView> Set(StoredFlag flag)
    {
        await store.Set(flag);
        await Refresh();
        return All.Single(f => f.Name == flag.Name);
    }

    /// <summary>Reads what is set now.</summary>
    public async Task Refresh()
    {
        var set = (await store.List()).ToDictionary(f => f.Name);
        Volatile.Write(ref values, Names.ToFrozenDictionary(name => name, name => set.GetValueOrDefault(name) is { } flag
            ? new Value(Definition(name, flag.Percent), new FlagView(name, flag.Percent, flag.UpdatedAt, flag.UpdatedBy))
            : new Value(Definition(name, defaults[name]), new FlagView(name, defaults[name], null, null))));
    }

    public Task<FeatureDefinition> GetFeatureDefinitionAsync(string featureName) =>
        Task.FromResult(Volatile.Read(ref values).GetValueOrDefault(featureName)?.Definition ?? throw new ArgumentException($"There is no flag '{featureName}'.", nameof(featureName)));

    public async IAsyncEnumerable<FeatureDefinition> GetAllFeatureDefinitionsAsync()
    {
        foreach (var value in Volatile.Read(ref values).Values) yield return value.Definition;
        await Task.CompletedTask;
    }

    private static FeatureDefinition Definition(string name, int percent) => new()
    {
        Name = name,
        EnabledFor =
        [
            new FeatureFilterConfiguration
            {
                Name = "Microsoft.Targeting", ParametersObject = new TargetingFilterSettings { Audience = new Audience { Users = [], Groups = [], DefaultRolloutPercentage = percent } },
            },
        ],
    };

    private static int Default(string name, string? text) =>
        string.IsNullOrWhiteSpace(text) ? 100
        : bool.TryParse(text, out var on) ? (on ? 100 : 0)
        : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var percent) && percent <= 100 ? percent
        : throw new SettingsException($"FeatureManagement:{name} is '{text}'; it must be true, false or a whole number from 0 to 100.");
}

/// <summary>Sees every two seconds what other processes set.</summary>
public sealed partial class FlagPoll(Flags flags, TimeProvider time, ILogger<FlagPoll> log) : BackgroundService
{
    public static readonly TimeSpan Every = TimeSpan.FromSeconds(2);

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Every, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                try
                {
                    await flags.Refresh();
                }
                catch (Exception e) when (!stoppingToken.IsCancellationRequested)
                {
                    // They stay as they were.
                    LogFailure(log, e);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The flags could not be read; they stay as they were.")]
    private static partial void LogFailure(ILogger log, Exception e);
}
