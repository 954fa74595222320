using System.Data;
using Billing.Silo.Storage.Postgres;
using Npgsql;

namespace Billing.Tests.Postgres;

/// <summary>A database of one test's own, asked as Orleans' AdoNet providers ask: by the texts of OrleansQuery, with their parameters and types.</summary>
public abstract class OrleansTables : IAsyncLifetime
{
    protected const int Joining = 2, Active = 3, ShuttingDown = 4, Dead = 6;

    protected static readonly DateTime Start = new(2026, 11, 20, 12, 0, 0, 123, 456, DateTimeKind.Utc);

    private readonly string name = PostgresServer.Shared.CreateDatabase();
    private NpgsqlDataSource source = null!;

    protected string Address => PostgresServer.Shared.ConnectionString(name);

    protected Dictionary<string, string> Queries { get; } = [];

    public async Task InitializeAsync()
    {
        await using (PostgresDatabase.Open(Address, TimeSpan.FromMinutes(1))) { }
        source = NpgsqlDataSource.Create(Address);
        await using var command = source.CreateCommand("SELECT QueryKey, QueryText FROM OrleansQuery");
        await using var reader = await command.ExecuteReaderAsync();
        while (await reader.ReadAsync()) Queries.Add(Text(reader, "QueryKey"), Text(reader, "QueryText"));
    }

    public async Task DisposeAsync() => await source.DisposeAsync();

    protected sealed record SiloRow(string Address, int Port, int Generation, string SiloName, string HostName, int Status, int ProxyPort, string? SuspectTimes, DateTime StartTime, DateTime IAmAliveTime);

    protected sealed record ReminderRow(string GrainId, string ReminderName, DateTime StartTime, long Period, int Version);

    protected sealed record GrainKey(string? Text, int Hash = 7, long N0 = 0, long N1 = 0, string State = "organization", string Service = "billing");

    protected Task<bool> MakeCluster(string cluster) => YesOrNo("InsertMembershipVersionKey", Of("DeploymentId", cluster));

    protected Task<bool> Join(int port, int version, int generation = 1, int gateway = 30000, string cluster = "billing") => YesOrNo("InsertMembershipKey",
    [
        Of("DeploymentId", cluster), Of("IAmAliveTime", Start), Of("SiloName", $"silo {port}"), Of("HostName", "host"), .. Silo(port, generation), Of("StartTime", Start), Of("Status", Joining),
        Of("ProxyPort", gateway), Of("Version", version),
    ]);

    protected Task<bool> Change(int port, int version, int status, string? suspects = null, string cluster = "billing") => YesOrNo("UpdateMembershipKey",
        [Of("DeploymentId", cluster), .. Silo(port), Of("IAmAliveTime", Start.AddSeconds(1)), Of("Status", status), Of("SuspectTimes", suspects), Of("Version", version)]);

    protected Task StillAlive(int port, DateTime time) => Ask("UpdateIAmAlivetimeKey", [Of("DeploymentId", "billing"), .. Silo(port), Of("IAmAliveTime", time)]);

    protected Task<(List<SiloRow> Silos, int Version)> Members(string cluster) => Members("MembershipReadAllKey", Of("DeploymentId", cluster));

    protected async Task<(List<SiloRow> Silos, int Version)> Members(string query, params NpgsqlParameter[] parameters)
    {
        var rows = await Read(query, r => (Silo: r.IsDBNull(r.GetOrdinal("StartTime")) ? null : ReadSilo(r), Version: Convert.ToInt32(r["Version"])), parameters);
        return ([.. rows.Select(r => r.Silo).OfType<SiloRow>().OrderBy(s => s.Port).ThenBy(s => s.Generation)], rows[0].Version);
    }

    private static SiloRow ReadSilo(NpgsqlDataReader row) => new(
        Text(row, "Address"), Int(row, "Port"), Int(row, "Generation"), Text(row, "SiloName"), Text(row, "HostName"), Int(row, "Status"), Int(row, "ProxyPort"), row["SuspectTimes"] as string,
        row.GetDateTime(row.GetOrdinal("StartTime")), row.GetDateTime(row.GetOrdinal("IAmAliveTime")));

    protected static NpgsqlParameter[] Silo(int port, int generation = 1) => [Of("Address", "127.0.0.1"), Of("Port", port), Of("Generation", generation)];

    protected async Task<int> Remind(string service, string grain, string name, DateTime start, long period, int hash = 1)
    {
        var bound = period <= int.MaxValue ? Of("Period", (int)period) : Of("Period", period);
        var etag = await Read("UpsertReminderRowKey", r => Convert.ToInt32(r["Version"]),
            Of("ServiceId", service), Of("GrainHash", hash), Of("GrainId", grain), Of("ReminderName", name), Of("StartTime", start), bound);
        return Assert.Single(etag);
    }

    protected async Task<ReminderRow[]> Reminders(string query, params NpgsqlParameter[] parameters)
    {
        var rows = await Read(query, r => new ReminderRow(
            Text(r, "GrainId"), Text(r, "ReminderName"), r.GetDateTime(r.GetOrdinal("StartTime")), r.GetInt64(r.GetOrdinal("Period")), Convert.ToInt32(r["Version"])), parameters);
        return [.. rows.OrderBy(r => r.ReminderName, StringComparer.Ordinal)];
    }

    protected async Task<(byte[]? Payload, int Version)?> ReadState(GrainKey grain)
    {
        var rows = await Read("ReadFromStorageKey", r => (r["PayloadBinary"] as byte[], (int)r["Version"]), KeyOf(grain));
        return rows.Count == 0 ? null : Assert.Single(rows);
    }

    /// <returns>The new ETag; null: refused.</returns>
    protected async Task<int?> WriteState(GrainKey grain, int? etag, byte[] payload)
    {
        var rows = await Read("WriteToStorageKey", r => (int)r["NewGrainStateVersion"], [.. KeyOf(grain), Of("GrainStateVersion", etag), Of("PayloadBinary", payload)]);
        return rows.Count == 0 ? null : Assert.Single(rows);
    }

    protected async Task<int?> EndState(string query, GrainKey grain, int? etag)
    {
        var rows = await Read(query, r => (int)r.GetValue(0), [.. KeyOf(grain), Of("GrainStateVersion", etag)]);
        return rows.Count == 0 ? null : Assert.Single(rows);
    }

    protected static NpgsqlParameter[] KeyOf(GrainKey grain) =>
    [
        Of("GrainIdHash", grain.Hash), Of("GrainIdN0", grain.N0), Of("GrainIdN1", grain.N1), Of("GrainTypeHash", 3), Of("GrainTypeString", grain.State), Of("GrainIdExtensionString", grain.Text),
        Of("ServiceId", grain.Service),
    ];

    /// <summary>A parameter of the type that the providers give one of this type of .NET, also where it is null.</summary>
    protected static NpgsqlParameter Of<T>(string name, T value) => new()
    {
        ParameterName = name,
        Value = (object?)value ?? DBNull.Value,
        DbType = typeof(T) == typeof(string) ? DbType.String
            : typeof(T) == typeof(int) || typeof(T) == typeof(int?) ? DbType.Int32
            : typeof(T) == typeof(long) ? DbType.Int64
            : typeof(T) == typeof(DateTime) ? DbType.DateTime
            : typeof(T) == typeof(byte[]) ? DbType.Binary
            : throw new NotSupportedException($"The providers bind no {typeof(T)}."),
    };

    protected async Task<bool> YesOrNo(string query, params NpgsqlParameter[] parameters)
    {
        var answers = await Read(query, r =>
        {
            Assert.Equal(1, r.FieldCount);
            return Convert.ToBoolean(r.GetValue(0));
        }, parameters);
        return Assert.Single(answers);
    }

    protected Task<List<int>> Ask(string query, params NpgsqlParameter[] parameters) => Read(query, r => r.FieldCount, parameters);

    protected async Task<List<T>> Read<T>(string query, Func<NpgsqlDataReader, T> read, params NpgsqlParameter[] parameters)
    {
        await using var command = source.CreateCommand(Queries[query]);
        command.Parameters.AddRange(parameters);
        await using var reader = await command.ExecuteReaderAsync();
        var rows = new List<T>();
        while (await reader.ReadAsync()) rows.Add(read(reader));
        return rows;
    }

    protected void Execute(string sql) => PostgresServer.Shared.Sql(name, sql);

    protected static string Text(NpgsqlDataReader row, string column) => (string)row[column];

    protected static int Int(NpgsqlDataReader row, string column) => row.GetInt32(row.GetOrdinal(column));
}
