using System.Security.Cryptography;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;
using static Billing.Tests.Simulation.Audit;

namespace Billing.Tests.Simulation;

/// <summary>
/// Some organizations, several machines that serve all of them from one journal, and everything that goes wrong between
/// them. One thing is driven at a time, whatever threads carry it, and all chance is the seed's: the same seed is the same
/// world, event for event and byte for byte.
/// </summary>
internal sealed class World
{
    private static readonly Fault[][] Troubles =
    [
        [Fault.LostAfter], [Fault.LostBefore], [Fault.LostBefore, Fault.LostAfter], [Fault.LostAfter, Fault.LostAfter], [Fault.Conflict], [Fault.Conflict, Fault.LostAfter],
        [Fault.CrashAfter], [Fault.CrashBefore], [Fault.LostBefore, Fault.CrashAfter], [.. Enumerable.Repeat(Fault.Conflict, LedgerSession.MaxAttempts)],
    ];

    public static readonly string[] Zones = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"];

    private readonly ulong seed;
    private readonly Dice dice;
    private readonly MemoryJournal journal = new();
    private readonly IReadOnlyList<Catalog> versions;
    private readonly List<Tenant> tenants = [];
    private readonly FoldedSnapshots? snapshots;
    private readonly List<Machine> machines = [];
    private readonly List<(int Weight, Func<Tenant, Task> Act)> acts;
    private Catalogs catalogs;
    private Instant clock = Instant.FromUtc(2027, 1, 29, 22, 30);
    private int step;

    private const int Organizations = 5;
    private const int Steps = 250;

    /// <summary>The world of this seed, as it has come to its end.</summary>
    public static Task<World> Of(int seed, bool withSnapshots = false) => new World((ulong)seed, Organizations, withSnapshots).Run(Steps);

    /// <param name="withSnapshots">Whether organizations begin with a snapshot of somewhere in their stream.</param>
    public World(ulong seed, int organizations, bool withSnapshots = false)
    {
        snapshots = withSnapshots ? new FoldedSnapshots(journal) : null;
        this.seed = seed;
        dice = new Dice(seed);
        versions = Market.Versions(dice);
        catalogs = new Catalogs([versions[0]]);
        clock += Duration.FromMinutes(dice.Between(0, 600_000));
        for (var i = 1; i <= organizations; i++) tenants.Add(new Tenant($"org-{i}", dice.Fork(), subscribesAtStripe: dice.Percent(40)));
        for (var i = 0; i < 2; i++) machines.Add(new Machine(journal, () => catalogs, snapshots));
        acts = [(40, One), (10, Trouble), (10, Several), (12, Waiting), (12, Race), (12, Repeat), (3, Together), (5, Timer), (3, Evict), (1, Burst), (3, Read)];
    }

    public IReadOnlyList<Tenant> Tenants => tenants;

    /// <summary>How many organizations began with a snapshot.</summary>
    public int SnapshotsFound => snapshots?.Found ?? 0;

    /// <summary>What happened, counted: that a simulation does what it is for is looked at too.</summary>
    public SortedDictionary<string, int> Count { get; } = [];

    /// <exception cref="AuditException">With all that is needed to see it again.</exception>
    public async Task<World> Run(int steps)
    {
        try
        {
            foreach (var tenant in tenants) await Send(Any(), tenant, Opening());
            for (step = 1; step <= steps; step++)
            {
                Tick();
                if (step == steps / 3 || step == steps * 2 / 3) catalogs = new Catalogs(versions.Take(catalogs.All.Length + 1));
                var tenant = dice.Of(tenants);
                if (dice.Percent(8)) tenant.Stripe.GoOn(clock);
                at = tenant;
                await dice.Of(acts)(tenant);
            }
            await End();
            return this;
        }
        catch (Exception e) when (e is not AuditException { InnerException: not null })
        {
            throw new AuditException(Report(e));
        }
        finally
        {
            foreach (var machine in machines) await machine.DisposeAsync();
        }
    }

    /// <summary>Everything that is stored of every stream: equal digests are equal bytes, because each event's hash covers all of it and all before it.</summary>
    public async Task<string> Digest()
    {
        using var digest = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var tenant in tenants)
            if (await journal.ReadHead(tenant.Id) is { } head) digest.AppendData(head.Hash);
        return Convert.ToHexString(digest.GetHashAndReset());
    }

    // ---- what happens

    /// <summary>The clock goes on: by seconds mostly, by months now and then. A machine's own clock may be wrong, either way.</summary>
    private void Tick()
    {
        clock += dice.Between(0, 99) switch
        {
            < 55 => Duration.FromSeconds(dice.Between(0, 90)),
            < 85 => Duration.FromMinutes(dice.Between(1, 180)),
            < 96 => Duration.FromHours(dice.Between(3, 60)),
            < 99 => Duration.FromDays(dice.Between(2, 15)),
            _ => Duration.FromDays(dice.Between(20, 100)),
        };
        if (!dice.Percent(3)) return;
        var machine = Any();
        machine.Skew = dice.Percent(50) ? Duration.Zero : Duration.FromMinutes(dice.Between(-3_000, 30));
        if (machine.Skew < Duration.Zero) Tally("clock back");
    }

    private Command Opening() => Traffic.Named(
        new OpenOrganization(dice.Of(Zones), dice.Percent(25), dice.Percent(30) ? dice.Of(["free", "pro", "max"]) : null) { Id = "", ContentHash = [], At = default }, "open", clock);

    private Task One(Tenant tenant)
    {
        var machine = Any();
        return Send(machine, tenant, Next(machine, tenant));
    }

    private async Task Trouble(Tenant tenant)
    {
        var machine = Any();
        machine.Wire.Plan(dice.Of(Troubles), readsThatFail: dice.Percent(20) ? 1 : 0);
        await Exchange([Ask(machine, tenant, Nexts(machine, tenant, 3), atomic: dice.Percent(30))]);
        await Insist(tenant);
    }

    private async Task Several(Tenant tenant)
    {
        var machine = Any();
        await Exchange([Ask(machine, tenant, Nexts(machine, tenant, 12), atomic: dice.Percent(30))]);
    }

    /// <summary>While one append is on its way others come, and go together in the next one.</summary>
    private async Task Waiting(Tenant tenant)
    {
        var machine = Any();
        machine.Wire.Plan([Fault.Hold, .. dice.Percent(25) ? dice.Of(Troubles) : []]);
        var asked = new List<Asking> { Ask(machine, tenant, [Next(machine, tenant)], false) };
        await Arrived(asked[0]);
        for (var i = dice.Between(1, 5); i > 0; i--)
            asked.Add(Ask(machine, tenant, dice.Percent(15) ? asked[0].Commands : Nexts(machine, tenant, 3), atomic: dice.Percent(30)));
        machine.Wire.Gate.Release();
        await Exchange(asked);
        await Insist(tenant);
    }

    /// <summary>Two machines write to one stream, the slower one finds out; or one caller asks both for the same.</summary>
    private async Task Race(Tenant tenant)
    {
        var (slow, fast) = dice.Percent(50) ? (machines[0], machines[1]) : (machines[1], machines[0]);
        slow.Wire.Plan([Fault.Hold, .. dice.Percent(15) ? dice.Of(Troubles) : []]);
        var asked = new List<Asking> { Ask(slow, tenant, Nexts(slow, tenant, 3), false) };
        await Arrived(asked[0]);
        for (var i = dice.Between(1, 3); i > 0; i--)
        {
            asked.Add(Ask(fast, tenant, dice.Percent(30) ? asked[0].Commands : [Next(fast, tenant)], false));
            await asked[^1].Ended;
        }
        slow.Wire.Gate.Release();
        await Exchange(asked);
        await Insist(tenant);
    }

    /// <summary>A caller repeats itself: word for word, or with the same key for something else.</summary>
    private async Task Repeat(Tenant tenant)
    {
        var before = dice.Percent(50) ? tenant.History[^dice.Between(1, Math.Min(10, tenant.History.Count))] : dice.Of(tenant.History);
        var machine = Any();
        var again = dice.Percent(75) ? before with { At = machine.Now(clock) } : Traffic.Named(Traffic.FromCaller(tenant, dice, machine.Now(clock)), before.Id, machine.Now(clock));
        await Send(machine, tenant, again);
        Tally("repeated");
    }

    /// <summary>Several organizations at once: their appends go in one group.</summary>
    private async Task Together(Tenant tenant)
    {
        var machine = Any();
        machine.Wire.Plan([Fault.Hold, .. dice.Percent(30) ? dice.Of<Fault[]>([[Fault.LostAfter], [Fault.LostBefore], [Fault.Conflict]]) : []]);
        var asked = new List<Asking> { Ask(machine, tenant, [Next(machine, tenant)], false) };
        await Arrived(asked[0]);
        // Nothing is held up when there was nothing to write: which of the others' appends would go together, and meet with the trouble, were a matter of luck.
        if (!machine.Wire.Gate.Entered.IsCompleted) machine.Wire.Plan([], forget: true);
        foreach (var other in tenants.Where(t => t != tenant).Take(dice.Between(1, 6))) asked.Add(Ask(machine, other, [Next(machine, other)], false));
        machine.Wire.Gate.Release();
        await Exchange(asked);
    }

    /// <summary>What is due is found in the journal and written, without traffic; by two machines now and then.</summary>
    private async Task Timer(Tenant tenant)
    {
        var machine = Any();
        var now = machine.Now(clock);
        var due = await machine.Wire.FindDue(now, int.MaxValue);
        var expected = tenants.Where(t => t.State.WakeAt <= now).Select(t => t.Id);
        Require(due.Order(StringComparer.Ordinal).SequenceEqual(expected.Order(StringComparer.Ordinal)), $"The journal finds {string.Join(", ", due)} due at {now}.");
        foreach (var id in due.Take(20))
        {
            at = tenants.Find(t => t.Id == id)!;
            var before = at.State.Version;
            await Send(machine, at, Traffic.Named(new WriteDue { Id = "", ContentHash = [], At = default }, $"ledger:due:{Micros.Of(now)}", now));
            if (at.State.Version == before)
            {
                // Another machine wrote what this one does not know of yet.
                machine.Host.Evict(0);
                await Send(machine, at, Traffic.Named(new WriteDue { Id = "", ContentHash = [], At = default }, $"ledger:due:{Micros.Of(now)}", now));
            }
            Require(at.State.Version > before, $"{id} has something due at {at.State.WakeAt}, and nothing comes of it at {now}.");
        }
    }

    private Task Evict(Tenant tenant)
    {
        Tally("evicted", Any().Host.Evict(0));
        return Task.CompletedTask;
    }

    /// <summary>So many commands that older ids are no longer in memory.</summary>
    private async Task Burst(Tenant tenant)
    {
        var commands = Enumerable.Range(0, dice.Between(150, 300)).Select(_ => Traffic.Named(
            new RecordUsage("mails", 1, null, null, true, null) { Id = "", ContentHash = [], At = default }, $"c{tenant.NextCommand()}", clock)).ToList();
        await Exchange([Ask(Any(), tenant, commands, atomic: false)]);
    }

    /// <summary>What a machine answers from memory is what the journal's events come to.</summary>
    private async Task Read(Tenant tenant)
    {
        var machine = Any();
        var (organization, now) = (machine.Host.Organization(tenant.Id), machine.Now(clock));
        // A machine that another one was faster than may be behind until it writes: it has to be led there.
        await Send(machine, tenant, Next(machine, tenant));
        if (tenant.State.Version == 0) return;
        var stale = (await organization.Read(now))!.Version != tenant.State.Version;
        Tally(stale ? "stale reads" : "reads");
        if (stale) return;
        Assert.Equivalent(Reading.All(tenant.State, catalogs, now), await organization.Entitlements(now), strict: true);
        Assert.Equivalent(Reading.Usage(tenant.State, catalogs, now), await organization.Usage(now), strict: true);
        Assert.Equivalent(Reading.Tokens(tenant.State, now), await organization.Tokens(now), strict: true);
        Assert.Equivalent(Reading.Subscription(tenant.State, catalogs, now), await organization.Subscription(now), strict: true);
    }

    /// <summary>Who heard nothing asks again; some of them only later.</summary>
    private async Task Insist(Tenant tenant)
    {
        while (tenant.Unanswered.Count > 0 && dice.Percent(80))
        {
            var machine = Any();
            await Send(machine, tenant, tenant.Unanswered[0] with { At = machine.Now(clock) });
        }
    }

    /// <summary>Everybody gets an answer in the end, the clock runs until nothing is due any more within a year, and the streams are read once more from their first event.</summary>
    private async Task End()
    {
        foreach (var tenant in tenants)
        {
            at = tenant;
            while (tenant.Unanswered.Count > 0) await Send(machines[0], tenant, tenant.Unanswered[0] with { At = clock });
        }
        foreach (var tenant in tenants)
        {
            at = tenant;
            var chain = await ChainVerifier.Verify(journal, tenant.Id);
            Require(chain.Problem is null && chain.Events == tenant.Events.Count, $"The chain is broken: {chain.Problem}");
            var again = State.Empty(tenant.Id).Evolve(tenant.Events.Select(e => e.Event));
            Require(Billing.Tests.Ledger.StateText.Of(again) == Billing.Tests.Ledger.StateText.Of(tenant.State), $"A replay gives another state.");
            // What is folded on a snapshot is what is folded on the events: at every tenth of them.
            var kept = State.Empty(tenant.Id);
            foreach (var (i, e) in tenant.Events.Index())
            {
                kept = kept.Evolve(e.Event);
                if (i % 10 == 0) kept = SnapshotCodec.Decode(SnapshotCodec.Encode(kept, HashChain.Start));
            }
            Require(StateComparison.Difference(again, kept) is null, $"On snapshots another state: {StateComparison.Difference(again, kept)}");
        }
    }

    // ---- asking

    private sealed record Asking(Machine Machine, Tenant Tenant, IReadOnlyList<Command> Commands, bool AllOrNone, Task<IReadOnlyList<CommandResult>> Ended);

    private Command Next(Machine machine, Tenant tenant) => Traffic.Next(tenant, dice, machine.Now(clock));

    private List<Command> Nexts(Machine machine, Tenant tenant, int most) => [.. Enumerable.Range(0, dice.Between(1, most)).Select(_ => Next(machine, tenant))];

    private Machine Any() => dice.Of(machines);

    private async Task Send(Machine machine, Tenant tenant, Command command) => await Exchange([Ask(machine, tenant, [command], false)]);

    private Asking Ask(Machine machine, Tenant tenant, IReadOnlyList<Command> commands, bool atomic)
    {
        commands = [.. commands.Select(c => Traffic.Reread(tenant, c))];
        foreach (var command in commands) tenant.Sending(command);
        asking.AddRange(commands);
        at = tenant;
        var organization = machine.Host.Organization(tenant.Id);
        return new Asking(machine, tenant, commands, atomic && commands.Count > 1, Answered());

        async Task<IReadOnlyList<CommandResult>> Answered() =>
            commands.Count == 1 ? [await organization.Execute(commands[0])] : await organization.ExecuteAll(commands, atomic);
    }

    /// <summary>When the held append is on its way, or there was nothing to append.</summary>
    private static async Task Arrived(Asking asking) => await Task.WhenAny(asking.Machine.Wire.Gate.Entered, asking.Ended);

    /// <summary>Hears all answers, replaces machines that died, and audits what was written.</summary>
    private async Task Exchange(IReadOnlyList<Asking> asked)
    {
        var receipts = new List<(Tenant Tenant, Receipt Receipt)>();
        foreach (var asking in asked)
        {
            IReadOnlyList<CommandResult>? results = null;
            try
            {
                results = await asking.Ended;
            }
            catch (JournalUnavailableException)
            {
                Tally("no answer");
            }
            foreach (var (i, command) in asking.Commands.Index())
            {
                receipts.Add((asking.Tenant, new Receipt(asking.Machine, command, results?[i], asking.AllOrNone)));
                Tally(results is null ? "unanswered" : results[i] switch
                {
                    { Rejection: { } rejection } => $"rejected {rejection.Code}",
                    { Replayed: true } => "replayed",
                    { Events.Count: 0 } => "nothing to do",
                    _ => $"done {command.GetType().Name}",
                });
            }
        }
        foreach (var machine in machines) Tally("conflicts", machine.Wire.Calm());
        foreach (var dead in machines.Where(m => m.Wire.IsDead).ToList())
        {
            Tally("crashed");
            await dead.DisposeAsync();
            machines[machines.IndexOf(dead)] = new Machine(journal, () => catalogs, snapshots) { Skew = dead.Skew };
        }
        foreach (var of in receipts.GroupBy(r => r.Tenant))
        {
            at = of.Key;
            await of.Key.Settle(journal, catalogs, [.. of.Select(r => r.Receipt)]);
        }
        asking.Clear();
    }

    private void Tally(string what, int times = 1)
    {
        if (times > 0) Count[what] = Count.GetValueOrDefault(what) + times;
    }

    // ---- for people

    private Tenant? at;
    private readonly List<Command> asking = [];

    private string Report(Exception e) =>
        $"""
        {e.Message}
        Seed {seed}, step {step}, {tenants.Count} organizations, clock {clock}, organization {at?.Id}. Its last events:
        {at?.Tail(12)}
        Asked: {string.Join("\n       ", asking.Select(a => a.ToString()))}
        Again: SIMULATION_SEED={seed} SIMULATION_SEEDS=1 dotnet test Billing.Tests --filter FullyQualifiedName~Simulation
        {(e is AuditException ? "" : e.ToString())}
        """;
}
