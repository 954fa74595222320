namespace Billing.Bench;

/// <summary>From before the process is made until it has answered its first request, with a journal that does not exist yet.</summary>
internal static class Starts
{
    public const string Name = "start", Scenario = "start to first answer";

    /// <summary>One round.</summary>
    public static void Run(int round, Machine machine, Report report)
    {
        foreach (var ledger in machine.Ledgers())
        {
            using var server = ledger.Start();
            report.Add(round, new Measurement(Scenario, ledger.Subject) { P50Ms = server.StartedIn.TotalMilliseconds });
        }
    }
}
