using System.Globalization;
using Billing.Tests.Postgres;
using Xunit.Abstractions;

namespace Billing.Tests.Api;

/// <summary>
/// The service as a process of its own, killed again and again in the middle of writing. What it acknowledged is there
/// exactly once; what it did not acknowledge is there at most once, whole, and a repeat finds out.
/// </summary>
public sealed class KillTests(ITestOutputHelper output)
{
    private static readonly int Rounds = int.Parse(Environment.GetEnvironmentVariable("KILL_ROUNDS") ?? "5", CultureInfo.InvariantCulture);

    [Theory]
    [InlineData("sqlite")]
    [InlineData("postgres")]
    public async Task killed_under_load_the_service_loses_nothing_that_it_acknowledged_and_records_nothing_twice(string journal)
    {
        var seed = Environment.TickCount;
        output.WriteLine($"seed {seed}, {Rounds} rounds");
        var random = new Random(seed);
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        string[] args = journal == "sqlite" ? [] : [$"--ConnectionStrings:Ledger={PostgresServer.Shared.ConnectionString(PostgresServer.Shared.CreateDatabase())}"];
        var clients = new RememberingClients(output);
        try
        {
            await File.WriteAllTextAsync(Path.Combine(folder, "catalog.json"), RememberingClients.Catalog);
            for (var round = 0; round < Rounds; round++)
            {
                // The journal is as the kill left it: nobody's hand between two starts.
                using var service = await ServiceProcess.Start(folder, args);
                if (round == 0) await RememberingClients.Open(service.Http);
                var killAfter = random.Next(1, 400);
                // Whoever gets this answer pulls the plug, while the others have requests on their way.
                await clients.Write([service.Http], $"r{round}", random.Next(), CancellationToken.None, answers =>
                {
                    if (answers == killAfter) service.Kill();
                });
                output.WriteLine($"round {round}: killed after {killAfter} or more answers; by now {clients.Acknowledged} answered");
            }
            using var last = await ServiceProcess.Start(folder, args);
            await clients.Audit(last.Http);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }
}
