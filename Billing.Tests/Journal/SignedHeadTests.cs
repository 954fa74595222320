using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Billing.Grains.Journal;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Journal;

/// <summary>A head that a customer keeps: whose it is, what it says, and that the stream still has it.</summary>
public sealed class SignedHeadTests
{
    private static readonly Instant At = Instant.FromUtc(2026, 11, 20, 10, 0) + Duration.FromNanoseconds(123_456_789);
    private static readonly StreamHead Head = new(12, SHA256.HashData("head"u8));

    [Fact]
    public void a_head_is_signed_by_the_key_and_by_no_other()
    {
        using var key = SignedHead.OpenKey(SignedHead.NewKey());
        using var other = SignedHead.OpenKey(SignedHead.NewKey());
        var head = SignedHead.Sign("acme", Head, At, key);

        Assert.Null(head.Problem(null));
        Assert.Null(head.Problem(key));
        Assert.Equal($"It is signed by the key {head.KeyId}, and not by {SignedHead.Sign("acme", Head, At, other).KeyId}.", head.Problem(other));
        Assert.Equal(("acme", 12L, Convert.ToHexStringLower(Head.Hash)), (head.Organization, head.Version, head.Hash));
        // Microseconds, as everywhere.
        Assert.Equal(Instant.FromUtc(2026, 11, 20, 10, 0) + Duration.FromNanoseconds(123_456_000), head.SignedAt);
    }

    [Fact]
    public void a_head_is_checked_with_its_specification_alone()
    {
        using var key = SignedHead.OpenKey(SignedHead.NewKey());
        var json = JsonDocument.Parse(SignedHead.Sign("acme", Head, At, key).ToJson()).RootElement;
        string[] names = ["organization", "version", "hash", "signed_at", "key_id"];
        var signed = string.Concat(names.Select(name => $"{json.GetProperty(name)}\n").Prepend("billing-ledger-head/1\n"));

        using var outside = ECDsa.Create();
        outside.ImportFromPem(json.GetProperty("public_key").GetString());

        Assert.True(outside.VerifyData(Encoding.UTF8.GetBytes(signed), json.GetProperty("signature").GetBytesFromBase64(), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        Assert.Equal(json.GetProperty("key_id").GetString(), Convert.ToHexStringLower(SHA256.HashData(outside.ExportSubjectPublicKeyInfo()))[..16]);
    }

    [Fact]
    public void any_flipped_bit_of_a_head_is_found()
    {
        using var key = SignedHead.OpenKey(SignedHead.NewKey());
        var json = Encoding.UTF8.GetBytes(SignedHead.Sign("acme", Head, At, key).ToJson());
        Assert.Null(SignedHead.Parse(json).Problem(null));
        for (var bit = 0; bit < json.Length * 8; bit++)
        {
            // White space between the members is nobody's.
            if (json[bit / 8] is (byte)' ' or (byte)'\n') continue;
            json[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.True(IsRefused(json), $"Bit {bit % 8} of byte {bit / 8} changed unnoticed: {Encoding.UTF8.GetString(json)}");
            json[bit / 8] ^= (byte)(1 << (bit % 8));
        }

        static bool IsRefused(byte[] json)
        {
            try
            {
                return SignedHead.Parse(json).Problem(null) is not null;
            }
            catch (JsonException)
            {
                return true;
            }
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("[1]")]
    [InlineData("""{"organization":"acme","version":1}""")]
    [InlineData("""{"organization":null,"version":1,"hash":"","signed_at":"2026-11-20T10:00:00Z","key_id":"","signature":"","public_key":""}""")]
    [InlineData("""{"organization":"acme","organization":"acme","version":1,"hash":"","signed_at":"2026-11-20T10:00:00Z","key_id":"","signature":"","public_key":""}""")]
    [InlineData("""{"organization":"acme","version":1,"hash":"","signed_at":"2026-11-20T10:00:00Z","key_id":"","signature":"","public_key":"","more":1}""")]
    public void what_is_no_head_is_not_read_as_one(string json) => Assert.Throws<JsonException>(() => SignedHead.Parse(Encoding.UTF8.GetBytes(json)));

    [Fact]
    public void keys_of_other_curves_and_what_is_no_key_are_refused()
    {
        using var large = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        using var rsa = RSA.Create(2048);
        using var good = SignedHead.OpenKey(SignedHead.NewKey());

        Assert.Null(SignedHead.ReadKey(large.ExportPkcs8PrivateKeyPem()));
        Assert.Null(SignedHead.ReadKey(rsa.ExportPkcs8PrivateKeyPem()));
        Assert.Null(SignedHead.ReadKey("no key"));
        using var read = SignedHead.ReadKey(good.ExportECPrivateKeyPem());
        Assert.Null(SignedHead.Sign("acme", Head, At, read!).Problem(good));
    }

    // ---- on a stream

    [Fact]
    public async Task a_head_that_was_kept_lies_on_the_stream_that_grew_since()
    {
        using var file = await LedgerFile.Create();
        var export = await file.Export();
        foreach (var version in (long[])[1, 7, file.Events])
        {
            var kept = await HeadAt(export, version);
            Assert.Null((await LedgerFile.VerifyExport(export, kept)).Problem);
            Assert.Null((await file.Verify(kept)).Problem);
        }
    }

    [Fact]
    public async Task a_history_that_was_rewritten_well_is_named_by_a_head_that_was_kept()
    {
        using var file = await LedgerFile.Create();
        var before = await file.Export();
        var kept = await HeadAt(before, 9);

        // Somebody with the database makes one use smaller and computes every hash anew.
        var stream = await LedgerExport.Read(new MemoryStream(before));
        var events = new List<StoredEvent>();
        await foreach (var e in stream.Events)
        {
            var changed = e.Version == 8 ? e with { Body = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(e.Body).Replace("\"quantity\":6,\"allowance\":6", "\"quantity\":1,\"allowance\":1", StringComparison.Ordinal)) } : e;
            Assert.True(e.Version != 8 || !changed.Body.SequenceEqual(e.Body));
            events.Add(changed with { Hash = changed.ComputeHash(events.Count == 0 ? HashChain.Start : events[^1].Hash) });
        }
        foreach (var e in events)
            file.Execute($"UPDATE events SET body = x'{Convert.ToHexString(e.Body)}', hash = x'{Convert.ToHexString(e.Hash)}' WHERE organization = '{e.Organization}' AND version = {e.Version}");
        file.Execute($"UPDATE streams SET hash = x'{Convert.ToHexString(events[^1].Hash)}' WHERE organization = '{LedgerFile.Organization}'");

        // It all fits: only what somebody else kept tells.
        Assert.Null((await file.Verify()).Problem);
        foreach (var report in (ChainReport[])[await file.Verify(kept), await LedgerFile.VerifyExport(await file.Export(), kept)])
            Assert.Equal((9L, "Version 9 is not the one of the head that was kept: what was recorded up to there was rewritten."), (report.FirstBadVersion!.Value, report.Problem!));
        // A head from before the change still lies on it.
        Assert.Null((await file.Verify(await HeadAt(before, 7))).Problem);
    }

    [Fact]
    public async Task a_tail_that_was_cut_off_with_its_head_is_named_by_a_head_that_was_kept()
    {
        using var file = await LedgerFile.Create();
        var kept = await HeadAt(await file.Export(), file.Events);
        file.Execute($"DELETE FROM events WHERE organization = '{LedgerFile.Organization}' AND version > 9");
        file.Execute($"UPDATE streams SET version = 9, hash = (SELECT hash FROM events WHERE organization = '{LedgerFile.Organization}' AND version = 9) WHERE organization = '{LedgerFile.Organization}'");

        var report = await file.Verify(kept);

        Assert.Equal((10L, $"The head that was kept is of version {file.Events}; the stream ends at 9: its tail was cut off."), (report.FirstBadVersion!.Value, report.Problem!));
    }

    private static async Task<StreamHead> HeadAt(byte[] export, long version)
    {
        var stream = await LedgerExport.Read(new MemoryStream(export));
        var e = await stream.Events.FirstAsync(e => e.Version == version);
        return new StreamHead(version, e.Hash);
    }
}
