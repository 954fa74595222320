using System.Text.Json.Serialization;
using Billing.Api;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage.Sqlite;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using NodaTime;
using Npgsql;

namespace Billing.Bench;

/// <summary>
/// What a user would build instead, as well as it can be built: the same HTTP server, the same settings, the same
/// authentication, and behind it one statement to PostgreSQL or one command to Redis for each request. There is no
/// stream, no idempotency, no window and no catalog; only a number and its limit.
/// </summary>
public static class BaselineServer
{
    /// <summary>The argument that makes this program the baselines' server.</summary>
    public const string Argument = "--serve-baselines";

    /// <summary>Where the two stores are, as settings.</summary>
    public const string PostgresSetting = "Baselines:Postgres", RedisSetting = "Baselines:Redis";

    /// <summary>How the rows are reached: statements are prepared, and there are no more connections than two processors have use for.</summary>
    public const string PostgresPool = "Max Auto Prepare=10;Auto Prepare Min Usages=1;Maximum Pool Size=32;No Reset On Close=true;Command Timeout=60";

    public const string PostgresRoot = "/v1/postgres", RedisRoot = "/v1/redis";

    /// <summary>How much each organization may use.</summary>
    public const long Limit = 1_000_000_000;

    private const string ReadRow = "SELECT used, quota FROM quotas WHERE organization = $1 AND feature = $2";

    private const string UseRow = "UPDATE quotas SET used = used + $3 WHERE organization = $1 AND feature = $2 AND used + $3 <= quota RETURNING used, quota";

    /// <summary>The check and the increment are one step. What Redis knows is in its memory only.</summary>
    private const string UseKey = """
        local used = tonumber(redis.call('GET', KEYS[1]) or '0')
        if used + tonumber(ARGV[1]) > tonumber(ARGV[2]) then return -1 end
        return redis.call('INCRBY', KEYS[1], ARGV[1])
        """;

    public static async Task Run(string[] args)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
        builder.Listen();
        // The only key is the configured one, in memory; the file, where the process runs, stays empty.
        await using var stored = SqliteDatabase.Open("keys.db");
        var keys = new ApiKeys(stored);
        keys.AddConfigured(builder.Configuration["BILLING_OPERATOR_KEY"]!, "benchmark", SystemClock.Instance.GetCurrentInstant());
        await using var app = builder.Build();
        app.UseProblems(new JournalHealth(() => Task.CompletedTask, TimeProvider.System));
        app.UseRouting();
        app.UseCallers(null, new KeyCredentials(keys, new Clock(TimeProvider.System)));
        app.MapGet("/v1/ping", () => Answers.Json(new PongView(true, "baselines"), BaselineJson.Default.PongView));
        await using var rows = app.Configuration[PostgresSetting] is { } connectionString ? NpgsqlDataSource.Create(connectionString) : null;
        if (rows is not null) MapPostgres(app, rows);
        using var redis = app.Configuration[RedisSetting] is { } port ? await RedisClient.Connect(int.Parse(port)) : null;
        if (redis is not null) await MapRedis(app, redis);
        await app.RunAsync();
    }

    /// <summary>The table with a row for each organization, and with room in its pages for updates in place.</summary>
    public static void MakeRows(string connectionString, int organizations)
    {
        using var source = NpgsqlDataSource.Create(connectionString);
        using var command = source.CreateCommand($"""
            CREATE TABLE quotas (organization text, feature text, used bigint NOT NULL, quota bigint NOT NULL, PRIMARY KEY (organization, feature)) WITH (fillfactor = 50);
            INSERT INTO quotas SELECT 'org-' || lpad(n::text, 6, '0'), '{Subject.Feature}', 0, {Limit} FROM generate_series(0, {organizations - 1}) n;
            ANALYZE quotas
            """);
        command.ExecuteNonQuery();
    }

    private static void MapPostgres(WebApplication app, NpgsqlDataSource rows)
    {
        app.MapGet(PostgresRoot + "/organizations/{organization}/entitlements/{feature}", async (string organization, string feature) =>
        {
            await using var command = rows.CreateCommand(ReadRow);
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = organization });
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = feature });
            await using var reader = await command.ExecuteReaderAsync();
            return await reader.ReadAsync() ? Standing(feature, reader.GetInt64(0), reader.GetInt64(1)) : Results.NotFound();
        });
        app.MapPost(PostgresRoot + "/organizations/{organization}/usage", async (string organization, HttpContext http) =>
        {
            if (await http.Request.ReadFromJsonAsync(BaselineJson.Default.Use) is not { } use) return Results.BadRequest();
            await using var command = rows.CreateCommand(UseRow);
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = organization });
            command.Parameters.Add(new NpgsqlParameter<string> { TypedValue = use.Feature });
            command.Parameters.Add(new NpgsqlParameter<long> { TypedValue = use.Quantity });
            await using var reader = await command.ExecuteReaderAsync();
            return await reader.ReadAsync() ? Recorded(use, reader.GetInt64(0), reader.GetInt64(1)) : Results.StatusCode(402);
        });
    }

    private static async Task MapRedis(WebApplication app, RedisClient redis)
    {
        var script = await redis.LoadScript(UseKey);
        app.MapGet(RedisRoot + "/organizations/{organization}/entitlements/{feature}", async (string organization, string feature) =>
            Standing(feature, await redis.Get($"used:{organization}:{feature}"), Limit));
        app.MapPost(RedisRoot + "/organizations/{organization}/usage", async (string organization, HttpContext http) =>
        {
            if (await http.Request.ReadFromJsonAsync(BaselineJson.Default.Use) is not { } use) return Results.BadRequest();
            var used = await redis.Run(script, $"used:{organization}:{use.Feature}", use.Quantity, Limit);
            return used >= 0 ? Recorded(use, used, Limit) : Results.StatusCode(402);
        });
    }

    private static IResult Standing(string feature, long used, long limit) =>
        Answers.Json(new Standing(feature, used < limit, limit, used, limit - used), BaselineJson.Default.Standing);

    private static IResult Recorded(Use use, long used, long limit) =>
        Answers.Json(new Recorded(use.Feature, use.Quantity, used, limit - used), BaselineJson.Default.Recorded, 201);
}

internal sealed record Use(string Feature, long Quantity);

internal sealed record Standing(string Feature, bool HasAccess, long Limit, long Used, long Remaining);

internal sealed record Recorded(string Feature, long Quantity, long Used, long Remaining);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(Use))]
[JsonSerializable(typeof(Standing))]
[JsonSerializable(typeof(Recorded))]
[JsonSerializable(typeof(PongView))]
internal sealed partial class BaselineJson : JsonSerializerContext;
