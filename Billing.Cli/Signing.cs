using System.Security.Cryptography;
using System.Text.Json;
using Billing.Grains.Journal;
using Billing.Silo;
using Billing.Silo.Storage;
using NodaTime;

namespace Billing.Cli;

/// <summary>`billing ledger head`.</summary>
internal static class Signing
{
    public static async Task<int> Head(Terminal terminal, JournalFile file, string organization, string? keyFile, CancellationToken stop)
    {
        await using var database = file.Open();
        using var key = keyFile is null ? await KeyOf(database, file) : ReadPrivate(keyFile);
        var stream = await file.Stream(database.Journal, organization, stop);
        if (stream.Head() is not { Version: > 0 } head) throw new UsageException($"'{organization}' has events and no head: verify it.");
        await terminal.Out.WriteLineAsync(SignedHead.Sign(organization, head, Instant.FromDateTimeOffset(terminal.Time.GetUtcNow()), key).ToJson());
        return ExitCode.Good;
    }

    /// <summary>The key that the service signs with, too.</summary>
    private static async Task<ECDsa> KeyOf(Database database, JournalFile file) => await new SecretStore(database).Find(SecretStore.HeadKey) is { } own
        ? SignedHead.OpenKey(own)
        : throw new UsageException($"'{file.Shown}' has no key to sign with yet: the service makes one when it starts. Start it once, or give a key with --key.");

    private static ECDsa ReadPrivate(string file)
    {
        var key = ReadKey(file);
        try
        {
            key.ExportParameters(includePrivateParameters: true);
            return key;
        }
        catch (CryptographicException)
        {
            key.Dispose();
            throw new UsageException($"'{file}' is a public key; signing takes the private one.");
        }
    }

    public static ECDsa ReadKey(string file) =>
        SignedHead.ReadKey(File.ReadAllText(file)) ?? throw new UsageException($"'{file}' is no key on P-256 in PEM. Make one with: openssl ecparam -name prime256v1 -genkey -noout");
}

/// <summary>A signed head that somebody kept.</summary>
/// <param name="IsTrusted">The key that must have signed it was named.</param>
/// <param name="Problem">What is wrong with its signature, or null.</param>
internal sealed record KeptHead(string File, SignedHead Head, bool IsTrusted, string? Problem)
{
    public static async Task<KeptHead> Read(string file, string? publicKeyFile)
    {
        using var trusted = publicKeyFile is null ? null : Signing.ReadKey(publicKeyFile);
        try
        {
            var head = SignedHead.Parse(await System.IO.File.ReadAllBytesAsync(file));
            return new KeptHead(file, head, trusted is not null, head.Problem(trusted));
        }
        catch (JsonException e)
        {
            throw new UsageException($"'{file}' is no signed head: {e.Message}");
        }
    }
}
