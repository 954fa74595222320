namespace Billing.Tests.Postgres;

/// <summary>The server that other tests rely on, and what happens to it.</summary>
public sealed class PostgresServerTests
{
    [Fact]
    public void what_was_committed_is_there_after_the_server_was_killed_and_after_it_was_stopped_at_once()
    {
        using var server = PostgresServer.Start();
        var database = server.CreateDatabase();
        var port = server.Port;
        server.Sql(database, "CREATE TABLE kept (n INT)");
        foreach (var end in new Action[] { server.Kill, () => server.Stop(), () => server.Stop("fast") })
        {
            server.Sql(database, "INSERT INTO kept SELECT count(*) FROM kept");

            end();
            Assert.Throws<InvalidOperationException>(() => server.Sql(database, "SELECT 1"));
            server.StartAgain();

            Assert.Equal(port, server.Port);
        }
        Assert.Equal("0\n1\n2", server.Sql(database, "SELECT n FROM kept ORDER BY n"));
    }

    [Fact]
    public void every_test_has_a_database_of_its_own_which_may_be_a_copy_of_another()
    {
        var first = PostgresServer.Shared.CreateDatabase();
        PostgresServer.Shared.Sql(first, "CREATE TABLE made AS SELECT 42 AS n");

        var copy = PostgresServer.Shared.CreateDatabase(first);
        var empty = PostgresServer.Shared.CreateDatabase();

        Assert.Equal("42", PostgresServer.Shared.Sql(copy, "SELECT n FROM made"));
        Assert.Equal("", PostgresServer.Shared.Sql(empty, "SELECT to_regclass('made')"));
    }
}
