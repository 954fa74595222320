using Billing.Silo.Storage.Postgres;
using Npgsql;

namespace Billing.Tests.Silo;

/// <summary>Where a PostgreSQL database is, in the ways in which people and hosts say it.</summary>
public sealed class PostgresAddressTests
{
    [Theory]
    [InlineData("postgresql://ledger:p%40ss%3Aword@db.example:6432/money", "ledger", "p@ss:word", "db.example", 6432, "money")]
    [InlineData("postgres://ledger@db.example/money", "ledger", null, "db.example", 5432, "money")]
    [InlineData("postgresql://db.example", null, null, "db.example", 5432, null)]
    [InlineData("postgresql://u:p@[::1]:5433/my%20money", "u", "p", "::1", 5433, "my money")]
    [InlineData("postgresql:///money?host=/var/run/postgresql&user=u", "u", null, "/var/run/postgresql", 5432, "money")]
    [InlineData("Host=db.example;Port=6432;Database=money;Username=ledger;Password=secret", "ledger", "secret", "db.example", 6432, "money")]
    public void a_url_and_keywords_say_the_same(string text, string? user, string? password, string host, int port, string? database)
    {
        Assert.True(PostgresAddress.IsAddress(text));

        var address = PostgresAddress.Parse(text);

        Assert.Equal((user, password, host, port, database), (address.Username, address.Password, address.Host, address.Port, address.Database));
        Assert.DoesNotContain(password ?? "nothing", PostgresAddress.Shown(address), StringComparison.Ordinal);
    }

    [Fact]
    public void what_hosts_put_behind_the_url_is_understood()
    {
        var address = PostgresAddress.Parse("postgresql://u:p@db.example/x?sslmode=verify-full&channel_binding=require&connect_timeout=7&application_name=my+app&target_session_attrs=read-write");

        Assert.Equal((SslMode.VerifyFull, ChannelBinding.Require, 7, "my app"), (address.SslMode, address.ChannelBinding, address.Timeout, address.ApplicationName));
    }

    [Theory]
    [InlineData("postgresql://db.example/x", GssEncryptionMode.Disable)]
    [InlineData("Host=db.example", GssEncryptionMode.Disable)]
    [InlineData("postgresql://db.example/x?gssencmode=require", GssEncryptionMode.Require)]
    [InlineData("Host=db.example;GSS Encryption Mode=Prefer", GssEncryptionMode.Prefer)]
    public void kerberos_is_tried_where_it_is_asked_for(string text, GssEncryptionMode mode) => Assert.Equal(mode, PostgresAddress.Parse(text).GssEncryptionMode);

    [Theory]
    [InlineData("postgresql://u:hunter2@db.example/x?colour=red")]
    [InlineData("postgresql://u:hunter2@db.example:port/x")]
    [InlineData("Host=db.example;Password=hunter2;Colour=red")]
    [InlineData("postgresql:///x")]
    [InlineData("Database=x;Password=hunter2")]
    public void what_cannot_be_read_is_refused_without_repeating_the_password(string text)
    {
        var refused = Assert.Throws<FormatException>(() => PostgresAddress.Parse(text));

        Assert.Contains("PostgreSQL address", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("hunter2", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("data/ledger.db")]
    [InlineData("/var/lib/postgres/ledger.db")]
    public void a_files_name_is_none(string text) => Assert.False(PostgresAddress.IsAddress(text));
}
