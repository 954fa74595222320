using System.Globalization;
using Npgsql;

namespace Billing.Silo.Storage.Postgres;

/// <summary>Where a PostgreSQL database is: a <c>postgresql://</c> URL, as hosts give them, or Npgsql's <c>Host=…;Database=…</c>.</summary>
public static class PostgresAddress
{
    private static readonly string[] Schemes = ["postgres://", "postgresql://"];

    /// <summary>Whether this is meant to be one, and not a file's name.</summary>
    public static bool IsAddress(string text) => IsUrl(text) || text.Contains("Host=", StringComparison.OrdinalIgnoreCase) || text.Contains("Server=", StringComparison.OrdinalIgnoreCase);

    /// <exception cref="FormatException">It is none; the message says why, without the password.</exception>
    public static NpgsqlConnectionStringBuilder Parse(string text)
    {
        try
        {
            var address = IsUrl(text) ? ParseUrl(text) : new NpgsqlConnectionStringBuilder(text);
            // Unasked, Npgsql tries Kerberos first: a round trip for nothing, and a complaint where its library is not installed, as in most containers.
            if (!address.ShouldSerialize("GSS Encryption Mode")) address.GssEncryptionMode = GssEncryptionMode.Disable;
            return string.IsNullOrEmpty(address.Host) ? throw new FormatException("The PostgreSQL address names no host.") : address;
        }
        catch (Exception e) when (e is ArgumentException or UriFormatException or InvalidCastException)
        {
            throw new FormatException($"The PostgreSQL address cannot be read: {e.Message} Write postgresql://user:password@host:5432/database, or Host=…;Database=…;Username=…;Password=…");
        }
    }

    /// <summary>For people and logs: without what is secret in it.</summary>
    public static string Shown(NpgsqlConnectionStringBuilder address) =>
        $"PostgreSQL {(address.Username is { Length: > 0 } user ? $"{user}@" : "")}{address.Host}:{address.Port.ToString(CultureInfo.InvariantCulture)}/{address.Database ?? address.Username}";

    private static bool IsUrl(string text) => Schemes.Any(s => text.StartsWith(s, StringComparison.OrdinalIgnoreCase));

    private static NpgsqlConnectionStringBuilder ParseUrl(string text)
    {
        var url = new Uri(text, UriKind.Absolute);
        var address = new NpgsqlConnectionStringBuilder { Host = url.Host.Trim('[', ']') };
        if (url.Port > 0) address.Port = url.Port;
        if (url.AbsolutePath.Trim('/') is { Length: > 0 } database) address.Database = Uri.UnescapeDataString(database);
        var user = url.UserInfo.Split(':', 2);
        if (user[0].Length > 0) address.Username = Uri.UnescapeDataString(user[0]);
        if (user.Length > 1) address.Password = Uri.UnescapeDataString(user[1]);
        foreach (var pair in url.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var (name, value) = pair.Split('=', 2) is [var n, var v] ? (n, Uri.UnescapeDataString(v.Replace('+', ' '))) : (pair, "");
            // The URL's names are libpq's; those that differ from Npgsql's are put right.
            address[name switch
            {
                "sslmode" => "SSL Mode",
                "sslrootcert" => "Root Certificate",
                "sslcert" => "SSL Certificate",
                "sslkey" => "SSL Key",
                "connect_timeout" => "Timeout",
                "application_name" => "Application Name",
                "gssencmode" => "GSS Encryption Mode",
                "channel_binding" => "Channel Binding",
                "target_session_attrs" => "Target Session Attributes",
                "dbname" => "Database",
                "user" => "Username",
                _ => name,
            }] = name == "sslmode" ? value.Replace("-", "", StringComparison.Ordinal) : value;
        }
        return address;
    }
}
