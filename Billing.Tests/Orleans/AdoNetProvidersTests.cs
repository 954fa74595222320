using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using Billing.Silo.Storage.Postgres;
using Billing.Tests.Postgres;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Orleans.Configuration;
using Orleans.Storage;

namespace Billing.Tests.Orleans;

/// <summary>Orleans' own AdoNet providers, in silos that stop and start, over the tables that the service makes.</summary>
public sealed class AdoNetProvidersTests : IAsyncLifetime
{
    private const string RemovesRows = "removes rows";

    private readonly string database = PostgresServer.Shared.CreateDatabase();
    private readonly ConcurrentDictionary<IHost, bool> running = [];

    /// <summary>A silo reads its reminders by thirty parts of the ring at once: without a limit it has a connection for each.</summary>
    private string Address => $"{PostgresServer.Shared.ConnectionString(database)};Maximum Pool Size=8";

    public async Task InitializeAsync()
    {
        await using (PostgresDatabase.Open(Address)) { }
    }

    public async Task DisposeAsync()
    {
        foreach (var host in running.Keys) await Stop(host);
        await using var last = new NpgsqlConnection(Address);
        NpgsqlConnection.ClearPool(last);
    }

    [Fact]
    public async Task silos_find_each_other_and_clients_find_them()
    {
        await StartSilo();
        await StartSilo();
        var client = await StartClient();

        var management = client.Services.GetRequiredService<IGrainFactory>().GetGrain<IManagementGrain>(0);
        await Until(async () => (await management.GetHosts(onlyActive: true)).Count == 2);

        Assert.Equal("2|3", Sql("SELECT count(*), min(Status) FROM OrleansMembershipTable"));
        var version = Sql("SELECT Version FROM OrleansMembershipVersionTable");
        var seen = Sql("SELECT min(IAmAliveTime) FROM OrleansMembershipTable");
        await Until(() => Task.FromResult(string.CompareOrdinal(Sql("SELECT min(IAmAliveTime) FROM OrleansMembershipTable"), seen) > 0));
        Assert.Equal(version, Sql("SELECT Version FROM OrleansMembershipVersionTable"));
    }

    [Fact]
    public async Task four_silos_that_start_at_once_all_join()
    {
        var silos = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => StartSilo()));

        var management = silos[0].Services.GetRequiredService<IGrainFactory>().GetGrain<IManagementGrain>(0);
        await Until(async () => (await management.GetHosts(onlyActive: true)).Count == 4);
    }

    [Fact]
    public async Task a_silo_that_left_is_dead_to_the_others_and_its_row_goes_when_it_is_old()
    {
        var stays = await StartSilo(keepsDefunct: TimeSpan.FromSeconds(4));
        var leaves = await StartSilo(keepsDefunct: TimeSpan.FromSeconds(4));
        var left = leaves.Services.GetRequiredService<ILocalSiloDetails>().SiloAddress;

        await Stop(leaves);

        var management = stays.Services.GetRequiredService<IGrainFactory>().GetGrain<IManagementGrain>(0);
        Assert.Equal(SiloStatus.Dead, (await management.GetHosts())[left]);
        await Until(() => Task.FromResult(Sql("SELECT count(*), min(Status) FROM OrleansMembershipTable") == "1|3"));
    }

    [Fact]
    public async Task state_outlives_its_silo_and_a_write_on_an_old_etag_is_refused()
    {
        var silo = await StartSilo();
        await Note(silo).Write("first");
        await Note(silo).Write("second");
        await Stop(silo);

        silo = await StartSilo();
        Assert.Equal("second", await Note(silo).Read());

        // Another writer, as a second activation would be.
        var storage = silo.Services.GetRequiredService<IGrainStorage>();
        var (one, other) = (new GrainState<Note>(), new GrainState<Note>());
        await storage.ReadStateAsync("note", Note(silo).GetGrainId(), one);
        await storage.ReadStateAsync("note", Note(silo).GetGrainId(), other);
        one.State.Text = "third";
        await storage.WriteStateAsync("note", Note(silo).GetGrainId(), one);
        await Assert.ThrowsAsync<InconsistentStateException>(() => storage.WriteStateAsync("note", Note(silo).GetGrainId(), other));
        await Assert.ThrowsAsync<InconsistentStateException>(() => storage.ClearStateAsync("note", Note(silo).GetGrainId(), other));
        await Assert.ThrowsAsync<InconsistentStateException>(() => storage.WriteStateAsync("note", Note(silo).GetGrainId(), new GrainState<Note>(new Note { Text = "as if there were none" })));
        // The grain itself has an old one now, ends, and comes back with what stands.
        await Assert.ThrowsAsync<InconsistentStateException>(() => Note(silo).Write("fourth"));
        Assert.Equal("third", await Note(silo).Read());
        await Note(silo).Write("fourth");

        await Note(silo).Forget();
        Assert.Null(await Note(silo).Read());
        await Note(silo).Write("again");
        Assert.Equal("again", await Note(silo).Read());
        Assert.Equal("1|6", Sql("SELECT count(*), max(Version) FROM OrleansStorage"));
    }

    [Fact]
    public async Task state_that_is_set_to_be_removed_leaves_no_row()
    {
        var silo = await StartSilo();
        var storage = silo.Services.GetRequiredKeyedService<IGrainStorage>(RemovesRows);
        var (one, other) = (new GrainState<Note>(new Note { Text = "first" }), new GrainState<Note>());
        await storage.WriteStateAsync("note", Note(silo).GetGrainId(), one);
        await storage.ReadStateAsync("note", Note(silo).GetGrainId(), other);
        await storage.WriteStateAsync("note", Note(silo).GetGrainId(), one);

        await Assert.ThrowsAsync<InconsistentStateException>(() => storage.ClearStateAsync("note", Note(silo).GetGrainId(), other));
        Assert.Equal("1", Sql("SELECT count(*) FROM OrleansStorage"));
        await storage.ClearStateAsync("note", Note(silo).GetGrainId(), one);

        Assert.Equal("0", Sql("SELECT count(*) FROM OrleansStorage"));
        await storage.WriteStateAsync("note", Note(silo).GetGrainId(), one);
        Assert.Equal("1", Sql("SELECT Version FROM OrleansStorage"));
    }

    [Fact]
    public async Task a_reminder_goes_on_in_another_silo_until_it_is_removed_with_its_etag()
    {
        var first = await StartSilo();
        await Note(first).Remind();
        await Until(() => Task.FromResult(NoteGrain.Reminded(database) > 0));

        var second = await StartSilo();
        await Stop(first);
        var before = NoteGrain.Reminded(database);
        await Until(() => Task.FromResult(NoteGrain.Reminded(database) > before));

        // Set anew: whoever has it as it was before cannot remove it.
        await Note(second).Remind();
        await Note(second).Remind();
        await Assert.ThrowsAnyAsync<ReminderException>(() => Note(second).StopReminding(asItWasFirst: true));
        Assert.Equal("2|1000", Sql("SELECT Version, Period FROM OrleansRemindersTable"));
        await Note(second).StopReminding(asItWasFirst: false);
        Assert.Equal("0", Sql("SELECT count(*) FROM OrleansRemindersTable"));
    }

    private INoteGrain Note(IHost host) => host.Services.GetRequiredService<IGrainFactory>().GetGrain<INoteGrain>(database);

    private Task<IHost> StartSilo(TimeSpan? keepsDefunct = null) => Start(builder => builder.UseOrleans(silo => silo
        .UseAdoNetClustering(o => (o.Invariant, o.ConnectionString) = ("Npgsql", Address))
        .UseAdoNetReminderService(o => (o.Invariant, o.ConnectionString) = ("Npgsql", Address))
        .AddAdoNetGrainStorageAsDefault(o => (o.Invariant, o.ConnectionString) = ("Npgsql", Address))
        .AddAdoNetGrainStorage(RemovesRows, o => (o.Invariant, o.ConnectionString, o.DeleteStateOnClear) = ("Npgsql", Address, true))
        .Configure<ClusterOptions>(o => o.ClusterId = o.ServiceId = "billing")
        .Configure<ReminderOptions>(o => o.MinimumReminderPeriod = TimeSpan.FromSeconds(1))
        .Configure<ClusterMembershipOptions>(o =>
        {
            // What is old is looked for whenever the table is read.
            o.IAmAliveTablePublishTimeout = o.TableRefreshTimeout = TimeSpan.FromSeconds(1);
            if (keepsDefunct is { } age) (o.DefunctSiloExpiration, o.DefunctSiloCleanupPeriod) = (age, TimeSpan.FromSeconds(1));
        })
        .Configure<EndpointOptions>(o => (o.AdvertisedIPAddress, o.SiloPort, o.GatewayPort) = (IPAddress.Loopback, PostgresServer.FreePort(), PostgresServer.FreePort()))));

    private Task<IHost> StartClient() => Start(builder => builder.UseOrleansClient(client => client
        .UseAdoNetClustering(o => (o.Invariant, o.ConnectionString) = ("Npgsql", Address))
        .Configure<ClusterOptions>(o => o.ClusterId = o.ServiceId = "billing")));

    private async Task<IHost> Start(Action<HostApplicationBuilder> set)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Logging.SetMinimumLevel(LogLevel.None);
        set(builder);
        var host = builder.Build();
        running[host] = true;
        await host.StartAsync();
        return host;
    }

    private async Task Stop(IHost host)
    {
        running.TryRemove(host, out _);
        await host.StopAsync();
        host.Dispose();
    }

    private string Sql(string statement) => PostgresServer.Shared.Sql(database, statement);

    private static async Task Until(Func<Task<bool>> happened)
    {
        var waiting = Stopwatch.StartNew();
        while (!await happened())
        {
            Assert.True(waiting.Elapsed < TimeSpan.FromMinutes(1), "This does not happen.");
            await Task.Delay(50);
        }
    }
}

[Alias("tests.note-grain")]
internal interface INoteGrain : IGrainWithStringKey
{
    [Alias("read")]
    Task<string?> Read();

    [Alias("write")]
    Task Write(string text);

    [Alias("forget")]
    Task Forget();

    [Alias("remind")]
    Task Remind();

    [Alias("stop-reminding")]
    Task StopReminding(bool asItWasFirst);
}

[GenerateSerializer, Alias("tests.note")]
internal sealed class Note
{
    [Id(0)]
    public string? Text { get; set; }
}

[GrainType("tests.note")]
internal sealed class NoteGrain([PersistentState("note")] IPersistentState<Note> note) : Grain, INoteGrain, IRemindable
{
    private static readonly ConcurrentDictionary<string, int> Ticks = [];

    private readonly List<IGrainReminder> reminders = [];

    public static int Reminded(string key) => Ticks.GetValueOrDefault(key);

    public Task<string?> Read() => Task.FromResult(note.State.Text);

    public Task Write(string text)
    {
        note.State.Text = text;
        return note.WriteStateAsync();
    }

    public Task Forget() => note.ClearStateAsync();

    public async Task Remind() => reminders.Add(await this.RegisterOrUpdateReminder("look", TimeSpan.Zero, TimeSpan.FromSeconds(1)));

    public Task StopReminding(bool asItWasFirst) => this.UnregisterReminder(asItWasFirst ? reminders[0] : reminders[^1]);

    public Task ReceiveReminder(string reminderName, TickStatus status)
    {
        Ticks.AddOrUpdate(this.GetPrimaryKeyString(), 1, (_, n) => n + 1);
        return Task.CompletedTask;
    }
}
