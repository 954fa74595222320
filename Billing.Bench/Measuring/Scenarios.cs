namespace Billing.Bench;

/// <summary>What is measured over HTTP, in the order in which a round does it: each beside what it is compared with.</summary>
public sealed class Scenarios(Options options, IReadOnlyList<Subject> subjects, Report report)
{
    public static readonly IReadOnlyList<string> Names = ["check", "consume", "mixed", "hot", "many", "batch", "trace"];

    public const string ConstantAtCheck = "constant, 32", ConstantAtConsume = "constant, 256", Check = "check", CheckAtHalf = "check at half rate", Consume = "consume",
        ConsumeAtHalf = "consume at half rate", Hot = "consume, one hot", Uniform = "consume, uniform", Zipf = "consume, Zipf", Batch = "batch", Trace = "trace";

    /// <summary>What is expected is expected with these numbers of connections.</summary>
    private const int CheckConnections = 32, ConsumeConnections = 256, MixedConnections = 64;

    private readonly TraceFile? trace = options.TraceFile is { } file ? TraceFile.Read(file) : null;

    private IEnumerable<Subject> Ledgers => subjects.Where(s => s.Store is not null);

    public static string Mixed(int rate) => $"mixed {rate:N0}/s";

    /// <summary>One round of all that was chosen. Every other round asks the subjects the other way round, so that none always comes after the same one.</summary>
    public void Run(int round)
    {
        var (all, ledgers) = round % 2 == 1 ? (subjects, Ledgers.ToList()) : ([.. subjects.Reverse()], [.. Ledgers.Reverse()]);
        var first = Ledgers.First();
        if (options.Only.Contains("check"))
        {
            Measure(Full(ConstantAtCheck, CheckConnections, options.Organizations, s => s.Constant), [first]);
            var rates = Measure(Full(Check, CheckConnections, options.Organizations, s => s.Check), all);
            Measure(Half(CheckAtHalf, CheckConnections, rates, s => s.Check), ledgers);
        }
        if (options.Only.Contains("consume"))
        {
            Measure(Full(ConstantAtConsume, ConsumeConnections, options.Organizations, s => s.Constant), [first]);
            var rates = Measure(Full(Consume, ConsumeConnections, options.Organizations, s => s.Consume), all);
            Measure(Half(ConsumeAtHalf, ConsumeConnections, rates, s => s.Consume), ledgers);
        }
        if (options.Only.Contains("hot")) Measure(Full(Hot, ConsumeConnections, 1, s => s.Consume), all);
        if (options.Only.Contains("many"))
        {
            Measure(Full(Uniform, ConsumeConnections, options.Many, s => s.Consume), all);
            Measure(s => new Load(Zipf, s, ConsumeConnections, [s.Consume], i => Walk.Zipf(options.Many, i)).AtFullSpeed(options.WarmUp, options.Duration), all);
        }
        if (options.Only.Contains("mixed"))
            foreach (var rate in options.Rates)
                Measure(s => new Load(Mixed(rate), s, MixedConnections, [s.Check, s.Consume], Uniformly(options.Organizations)).AtRate(rate, options.WarmUp, options.Duration), all);
        if (options.Only.Contains("batch")) Measure(BatchBesideRawInsert, ledgers);
        if (options.Only.Contains("trace") && trace is not null)
            Measure(s => new Load(Trace, s, ConsumeConnections, [s.ConsumeSome], _ => Walk.InTurn(options.Organizations), trace.Quantities).AtInstants(trace.Within(options.TraceDuration)), all);

        // Of every round, what came to how many requests a second: half of it is the next rate.
        Dictionary<Subject, double> Measure(Func<Subject, IReadOnlyList<Measurement>> measure, IReadOnlyList<Subject> of)
        {
            var rates = new Dictionary<Subject, double>();
            foreach (var subject in of)
            {
                if (report.Errors.Count > 0) break;
                var before = subject.Store?.Journal.LastPosition() ?? 0;
                var measured = measure(subject);
                report.Check(measured, subject.Store?.Journal, before);
                foreach (var each in measured) report.Add(round, each);
                rates[subject] = measured[0].RequestsPerSecond;
            }
            return rates;
        }
    }

    private Func<Subject, IReadOnlyList<Measurement>> Full(string scenario, int connections, int organizations, Func<Subject, Kind> kind) =>
        s => new Load(scenario, s, connections, [kind(s)], Uniformly(organizations)).AtFullSpeed(options.WarmUp, options.Duration);

    private Func<Subject, IReadOnlyList<Measurement>> Half(string scenario, int connections, Dictionary<Subject, double> rates, Func<Subject, Kind> kind) =>
        s => new Load(scenario, s, connections, [kind(s)], Uniformly(options.Organizations)).AtRate(Math.Max(1, rates[s] / 2), options.WarmUp, options.Duration);

    /// <summary>What the batches recorded is inserted once more by the database alone.</summary>
    private IReadOnlyList<Measurement> BatchBesideRawInsert(Subject subject)
    {
        var store = subject.Store!;
        var before = store.Journal.LastPosition();
        var measured = new Load(Batch, subject, options.BatchConnections, [subject.Batch(options.BatchItems)], Uniformly(options.Organizations)).AtFullSpeed(options.WarmUp, options.Duration);
        var rows = store.Journal.ReadUsage(before, RawInsert.MaxRows);
        return rows.Count == 0 ? measured : [.. measured, store.InsertRaw(rows, options.GroupRows)];
    }

    private static Func<int, Walk> Uniformly(int organizations) => connection => Walk.Uniform(organizations, connection);
}
