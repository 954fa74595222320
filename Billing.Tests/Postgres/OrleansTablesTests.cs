using System.Collections.Concurrent;
using Billing.Silo.Storage;
using Billing.Silo.Storage.Postgres;

namespace Billing.Tests.Postgres;

/// <summary>
/// What Orleans' AdoNet providers find in a database that the service opened: each of their queries, asked as they ask it
/// (parameters by name, each of the type that they give it), does what they rely on. This needs nothing of Orleans.
/// </summary>
public sealed class OrleansTablesTests : OrleansTables
{
    [Fact]
    public void every_query_that_the_providers_look_for_is_there_and_is_one_statement()
    {
        Assert.Equal(
        [
            "CleanupDefunctSiloEntriesKey", "CleanupDefunctSiloEntryKey", "ClearStorageKey", "DeleteMembershipTableEntriesKey", "DeleteReminderRowKey", "DeleteReminderRowsKey",
            "DeleteStorageKey", "GatewaysQueryKey", "InsertMembershipKey", "InsertMembershipVersionKey", "MembershipReadAllKey", "MembershipReadRowKey", "ReadFromStorageKey", "ReadRangeRows1Key", "ReadRangeRows2Key",
            "ReadReminderRowKey", "ReadReminderRowsKey", "UpdateIAmAlivetimeKey", "UpdateMembershipKey", "UpsertReminderRowKey", "WriteToStorageKey",
        ], Queries.Keys.Order(StringComparer.Ordinal));
        Assert.All(Queries, q => Assert.DoesNotContain(';', q.Value));
    }

    [Fact]
    public async Task a_database_from_before_gets_them_when_it_is_opened_and_no_second_time()
    {
        Execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at TEXT NOT NULL)");
        foreach (var (version, script) in Migrations.Of("Postgres").Where(m => m.Key < 3)) Execute($"{script}; INSERT INTO schema_version VALUES ({version}, 'before')");
        await using (PostgresDatabase.Open(Address)) { }
        Assert.True(await MakeCluster("billing"));

        await using (PostgresDatabase.Open(Address)) { }

        Assert.False(await MakeCluster("billing"));
    }

    // ---- clustering

    [Fact]
    public async Task a_cluster_has_one_version_whoever_makes_it()
    {
        var made = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => MakeCluster("billing")));

        Assert.Single(made, m => m);
        Assert.True(await MakeCluster("other"));
        var (silos, version) = await Members("billing");
        Assert.Empty(silos);
        Assert.Equal(0, version);
    }

    [Fact]
    public async Task a_silo_joins_once_and_only_at_the_version_that_stands()
    {
        Assert.False(await Join(11111, version: 0));
        await MakeCluster("billing");

        Assert.False(await Join(11111, version: 1));
        Assert.True(await Join(11111, version: 0));
        Assert.False(await Join(11112, version: 0));
        Assert.False(await Join(11111, version: 1));
        // The same place after a restart is another silo.
        Assert.True(await Join(11111, version: 1, generation: 2));

        var (silos, version) = await Members("billing");
        Assert.Equal([(11111, 1), (11111, 2)], silos.Select(s => (s.Port, s.Generation)));
        Assert.Equal(2, version);
        Assert.Equal(new SiloRow("127.0.0.1", 11111, 1, "silo 11111", "host", Joining, 30000, null, Start, Start), silos[0]);
        Assert.Equal(DateTimeKind.Utc, silos[0].StartTime.Kind);
    }

    [Fact]
    public async Task of_silos_that_join_at_once_one_gets_each_version()
    {
        await MakeCluster("billing");
        var joinedAt = new ConcurrentBag<int>();

        await Task.WhenAll(Enumerable.Range(11111, 8).Select(async port =>
        {
            while (true)
            {
                var (_, version) = await Members("billing");
                if (!await Join(port, version)) continue;
                joinedAt.Add(version);
                return;
            }
        }));

        Assert.Equal(Enumerable.Range(0, 8), joinedAt.Order());
        var (silos, last) = await Members("billing");
        Assert.Equal(Enumerable.Range(11111, 8), silos.Select(s => s.Port));
        Assert.Equal(8, last);
    }

    [Fact]
    public async Task a_silo_changes_only_at_the_version_that_stands()
    {
        await MakeCluster("billing");
        await Join(11111, version: 0);
        await Join(11112, version: 1);

        Assert.False(await Change(11111, version: 1, Active));
        Assert.False(await Change(11119, version: 2, Active));
        Assert.Equal(2, (await Members("billing")).Version);
        Assert.True(await Change(11111, version: 2, Dead, suspects: "S127.0.0.1:11112:1,2026-11-20 12:00:01.000 GMT"));

        var (silos, version) = await Members("billing");
        Assert.Equal(3, version);
        Assert.Equal(
        [
            new SiloRow("127.0.0.1", 11111, 1, "silo 11111", "host", Dead, 30000, "S127.0.0.1:11112:1,2026-11-20 12:00:01.000 GMT", Start, Start.AddSeconds(1)),
            new SiloRow("127.0.0.1", 11112, 1, "silo 11112", "host", Joining, 30000, null, Start, Start),
        ], silos);
        Assert.True(await Change(11111, version: 3, Dead, suspects: null));
        Assert.Null((await Members("billing")).Silos[0].SuspectTimes);
    }

    [Fact]
    public async Task of_changes_asked_for_at_one_version_one_is_made()
    {
        await MakeCluster("billing");
        for (var i = 0; i < 4; i++) await Join(11111 + i, version: i);
        for (var version = 4; version < 14; version++)
        {
            // Of different silos and of the same one, a new one among them, while they tell that they are alive.
            var asked = version;
            var changed = Enumerable.Range(0, 8).Select(i => Change(11111 + (i % 4), asked, Active)).Append(Join(11111, asked, generation: asked));

            var answers = Task.WhenAll(changed);
            await Task.WhenAll(Enumerable.Range(0, 8).Select(i => StillAlive(11111 + (i % 4), Start)).Append(answers));

            Assert.Single(await answers, yes => yes);
            Assert.Equal(version + 1, (await Members("billing")).Version);
        }
    }

    [Fact]
    public async Task a_sign_of_life_changes_its_time_and_nothing_else()
    {
        await MakeCluster("billing");
        await Join(11111, version: 0);
        await Join(11112, version: 1);
        var (before, version) = await Members("billing");

        await StillAlive(11111, Start.AddMinutes(5));
        await StillAlive(11119, Start.AddMinutes(5));

        var (after, same) = await Members("billing");
        Assert.Equal([before[0] with { IAmAliveTime = Start.AddMinutes(5) }, before[1]], after);
        Assert.Equal(version, same);
    }

    [Fact]
    public async Task one_silo_is_read_with_the_version_and_the_version_without_the_silo()
    {
        await MakeCluster("billing");
        await Join(11111, version: 0);
        await Join(11112, version: 1);

        var (silos, version) = await Members("MembershipReadRowKey", [Of("DeploymentId", "billing"), .. Silo(11112)]);
        Assert.Equal(11112, Assert.Single(silos).Port);
        Assert.Equal(2, version);
        (silos, version) = await Members("MembershipReadRowKey", [Of("DeploymentId", "billing"), .. Silo(11112, generation: 2)]);
        Assert.Empty(silos);
        Assert.Equal(2, version);
    }

    [Fact]
    public async Task clients_are_told_the_gateways_of_active_silos_of_their_cluster()
    {
        await MakeCluster("billing");
        await MakeCluster("other");
        await Join(11111, version: 0, gateway: 30000);
        await Join(11112, version: 1, gateway: 0);
        await Join(11113, version: 2, gateway: 30002);
        await Join(11114, version: 0, gateway: 30003, cluster: "other");
        await Change(11111, version: 3, Active);
        await Change(11112, version: 4, Active);
        await Change(11114, version: 1, Active, cluster: "other");

        var gateways = await Read("GatewaysQueryKey", r => (Text(r, "Address"), Int(r, "ProxyPort"), Int(r, "Generation")), Of("DeploymentId", "billing"), Of("Status", Active));

        Assert.Equal([("127.0.0.1", 30000, 1)], gateways);
    }

    [Fact]
    public async Task a_cluster_is_removed_with_its_silos_and_leaves_the_others()
    {
        await MakeCluster("billing");
        await MakeCluster("other");
        await Join(11111, version: 0);
        await Join(11111, version: 0, cluster: "other");

        await Ask("DeleteMembershipTableEntriesKey", Of("DeploymentId", "billing"));

        Assert.Single((await Members("other")).Silos);
        Assert.True(await MakeCluster("billing"));
        Assert.Empty((await Members("billing")).Silos);
    }

    [Fact]
    public async Task rows_of_silos_that_are_long_gone_are_cleaned_up_unless_they_count_as_active()
    {
        await MakeCluster("billing");
        await MakeCluster("other");
        await Join(11120, version: 0, cluster: "other");
        int[] statuses = [Joining, Active, ShuttingDown, Dead, Dead];
        foreach (var (i, status) in statuses.Index())
        {
            await Join(11111 + i, version: 2 * i);
            await Change(11111 + i, version: (2 * i) + 1, status);
        }
        await StillAlive(11115, Start.AddDays(7));

        await Ask("CleanupDefunctSiloEntriesKey", Of("DeploymentId", "billing"), Of("IAmAliveTime", Start.AddDays(7)));

        var (silos, version) = await Members("billing");
        Assert.Equal([11112, 11115], silos.Select(s => s.Port));
        Assert.Equal(10, version);
        Assert.Single((await Members("other")).Silos);
    }

    [Fact]
    public async Task the_row_of_one_dead_silo_is_cleaned_up_only_as_it_was_read()
    {
        const string Suspicion = "S127.0.0.1:11113:1,2026-11-20 12:00:01.000 GMT";
        await MakeCluster("billing");
        string?[] suspects = [null, "", Suspicion, null];
        foreach (var (i, suspect) in suspects.Index())
        {
            await Join(11111 + i, version: 2 * i);
            await Change(11111 + i, version: (2 * i) + 1, i < 3 ? Dead : Active, suspect);
        }

        Task CleanUp(int port, string? suspicions, TimeSpan later = default) => Ask("CleanupDefunctSiloEntryKey",
            [Of("DeploymentId", "billing"), .. Silo(port), Of("SuspectTimes", suspicions), Of("StartTime", Start), Of("IAmAliveTime", Start.AddSeconds(1) + later)]);

        await CleanUp(11111, null, later: TimeSpan.FromMicroseconds(1));
        await CleanUp(11111, Suspicion);
        await CleanUp(11113, null);
        await CleanUp(11114, null);
        Assert.Equal([11111, 11112, 11113, 11114], (await Members("billing")).Silos.Select(s => s.Port));
        await CleanUp(11111, null);
        await CleanUp(11112, null);
        await CleanUp(11113, Suspicion);

        var (silos, version) = await Members("billing");
        Assert.Equal([11114], silos.Select(s => s.Port));
        Assert.Equal(8, version);
    }

    // ---- reminders

    [Fact]
    public async Task a_reminder_is_registered_set_anew_and_read_with_its_etag()
    {
        Assert.Equal(0, await Remind("billing", "organization/acme", "due", Start, period: 60_000));
        Assert.Equal(0, await Remind("billing", "organization/acme", "report", Start, period: 60_000));
        Assert.Equal(0, await Remind("other", "organization/acme", "due", Start, period: 60_000));

        // A period beyond 24 days is bound as a long.
        Assert.Equal(1, await Remind("billing", "organization/acme", "due", Start.AddHours(1), period: 3_000_000_000L));
        Assert.Equal(2, await Remind("billing", "organization/acme", "due", Start.AddHours(2), period: 3_000_000_000L));

        var due = new ReminderRow("organization/acme", "due", Start.AddHours(2), 3_000_000_000, 2);
        Assert.Equal([due], await Reminders("ReadReminderRowKey", Of("ServiceId", "billing"), Of("GrainId", "organization/acme"), Of("ReminderName", "due")));
        Assert.Equal([due, new ReminderRow("organization/acme", "report", Start, 60_000, 0)], await Reminders("ReadReminderRowsKey", Of("ServiceId", "billing"), Of("GrainId", "organization/acme")));
        Assert.Empty(await Reminders("ReadReminderRowKey", Of("ServiceId", "billing"), Of("GrainId", "organization/acme"), Of("ReminderName", "DUE")));
        Assert.Empty(await Reminders("ReadReminderRowsKey", Of("ServiceId", "billing"), Of("GrainId", "organization/globex")));
    }

    [Fact]
    public async Task reminders_are_read_by_a_part_of_the_ring_that_may_go_over_its_end()
    {
        foreach (var hash in new[] { int.MinValue, -5, 0, 5, int.MaxValue }) await Remind("billing", $"organization/{hash}", "due", Start, period: 60_000, hash);
        await Remind("other", "organization/acme", "due", Start, period: 60_000);

        async Task Expect(int begin, int end, int[] hashes)
        {
            var rows = await Reminders(begin < end ? "ReadRangeRows1Key" : "ReadRangeRows2Key", Of("ServiceId", "billing"), Of("BeginHash", begin), Of("EndHash", end));
            Assert.Equal(hashes, rows.Select(r => int.Parse(r.GrainId.AsSpan("organization/".Length))).Order());
        }

        await Expect(-5, 5, [0, 5]);
        await Expect(-4, 4, [0]);
        await Expect(5, int.MinValue, [int.MinValue, int.MaxValue]);
        await Expect(5, -5, [int.MinValue, -5, int.MaxValue]);
        await Expect(7, 7, [int.MinValue, -5, 0, 5, int.MaxValue]);
    }

    [Fact]
    public async Task a_reminder_is_removed_only_with_its_etag()
    {
        await Remind("billing", "organization/acme", "due", Start, period: 60_000);
        await Remind("billing", "organization/acme", "due", Start, period: 60_000);

        Task<bool> Remove(int version) => YesOrNo("DeleteReminderRowKey", Of("ServiceId", "billing"), Of("GrainId", "organization/acme"), Of("ReminderName", "due"), Of("Version", version));

        Assert.False(await Remove(0));
        Assert.True(await Remove(1));
        Assert.False(await Remove(1));
    }

    [Fact]
    public async Task all_reminders_of_a_service_are_removed_and_no_others()
    {
        await Remind("billing", "organization/acme", "due", Start, period: 60_000);
        await Remind("other", "organization/acme", "due", Start, period: 60_000);

        await Ask("DeleteReminderRowsKey", Of("ServiceId", "billing"));

        Assert.Empty(await Reminders("ReadReminderRowsKey", Of("ServiceId", "billing"), Of("GrainId", "organization/acme")));
        Assert.Single(await Reminders("ReadReminderRowsKey", Of("ServiceId", "other"), Of("GrainId", "organization/acme")));
    }

    // ---- state of grains

    [Fact]
    public async Task state_is_written_with_the_etag_that_stands_and_refused_with_any_other()
    {
        var acme = new GrainKey("acme");
        Assert.Null(await ReadState(acme));
        Assert.Null(await WriteState(acme, etag: 1, [9]));

        Assert.Equal(1, await WriteState(acme, etag: null, [1]));
        Assert.Null(await WriteState(acme, etag: null, [9]));
        Assert.Null(await WriteState(acme, etag: 2, [9]));
        Assert.Equal(2, await WriteState(acme, etag: 1, [2]));
        Assert.Null(await WriteState(acme, etag: 1, [9]));

        var (payload, version) = (await ReadState(acme))!.Value;
        Assert.Equal([2], payload);
        Assert.Equal(2, version);
    }

    [Fact]
    public async Task of_two_that_write_the_same_state_at_once_one_is_refused()
    {
        for (int? etag = null; etag is null or < 10; etag = (etag ?? 0) + 1)
        {
            var at = etag;
            var written = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => WriteState(new GrainKey("acme"), at, [(byte)i])));

            Assert.Equal((at ?? 0) + 1, Assert.Single(written, w => w is not null));
        }
    }

    [Fact]
    public async Task state_that_was_cleared_keeps_its_etag_going()
    {
        var acme = new GrainKey("acme");
        await WriteState(acme, etag: null, [1]);

        Assert.Null(await EndState("ClearStorageKey", acme, etag: 2));
        Assert.Null(await EndState("ClearStorageKey", acme, etag: null));
        Assert.Equal(2, await EndState("ClearStorageKey", acme, etag: 1));

        Assert.Equal((null, 2), await ReadState(acme));
        Assert.Null(await WriteState(acme, etag: null, [9]));
        Assert.Equal(3, await WriteState(acme, etag: 2, [3]));
    }

    [Fact]
    public async Task state_that_was_removed_begins_again()
    {
        var acme = new GrainKey("acme");
        await WriteState(acme, etag: null, [1]);

        Assert.Null(await EndState("DeleteStorageKey", acme, etag: 2));
        Assert.Equal(2, await EndState("DeleteStorageKey", acme, etag: 1));

        Assert.Null(await ReadState(acme));
        Assert.Null(await WriteState(acme, etag: 2, [9]));
        Assert.Equal(1, await WriteState(acme, etag: null, [1]));
    }

    [Fact]
    public async Task states_are_told_apart_by_everything_that_names_them()
    {
        GrainKey[] keys =
        [
            new("acme"), new("ACME"), new("acme", Hash: 1), new("acme", N0: 1), new("acme", N1: 1), new("acme", State: "other"), new("acme", Service: "other"), new(""), new(null), new("+"),
        ];
        foreach (var (i, key) in keys.Index()) Assert.Equal(1, await WriteState(key, etag: null, [(byte)i]));
        await EndState("ClearStorageKey", keys[0], etag: 1);

        foreach (var (i, key) in keys.Index().Skip(1)) Assert.Equal([(byte)i], (await ReadState(key))!.Value.Payload!);
    }
}
