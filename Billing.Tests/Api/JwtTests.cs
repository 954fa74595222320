using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Billing.Api;
using Billing.Silo;
using NodaTime;

namespace Billing.Tests.Api;

/// <summary>Tokens of other issuers: which are taken, for what, and that every other one has the same answer.</summary>
public sealed class JwtTests
{
    private static readonly Instant Now = TestApi.Time("2026-11-20T10:00:00Z");

    private static SettableClock Time => new(Now);

    private static JsonObject Claims(Action<JsonObject>? change = null)
    {
        var claims = SignedTokens.Claims(Now);
        change?.Invoke(claims);
        return claims;
    }

    // ---- what a token may do

    [Fact]
    public async Task a_token_does_what_its_claims_and_the_configuration_both_allow_for_its_organization_alone()
    {
        await using var api = await TestApi.Start("learning-community", args: SignedTokens.Arguments(null, "ScopeClaim=scope", "Scopes=entitlements:read usage:write"));
        await api.Open("acme");
        await api.Open("other");
        using var reads = api.Client(SignedTokens.Hs256(Claims(c => c["scope"] = "openid entitlements:read billing:manage ops")));
        using var uses = api.Client(SignedTokens.Hs256(Claims(c => c["scope"] = new JsonArray("usage:write"))));
        using var nothing = api.Client(SignedTokens.Hs256(Claims()));

        (await api.Get("/v1/organizations/acme/entitlements/ai_requests", reads)).Expect(200);
        (await api.Use("acme", "ai_requests", by: reads)).ExpectProblem(403, "insufficient_scope", "This needs usage:write; the caller has entitlements:read.");
        (await api.Get("/v1/organizations/acme/invoices", reads)).ExpectProblem(403, "insufficient_scope", "the caller has entitlements:read.");
        (await api.Post("/v1/organizations", new { id = "mine" }, by: reads)).ExpectProblem(403, "operator_only", "");
        (await api.Use("acme", "ai_requests", by: uses)).Expect(201);
        foreach (var client in (HttpClient[])[reads, uses]) (await api.Get("/v1/organizations/other/entitlements/ai_requests", client)).ExpectProblem(404, "organization_unknown", "There is no organization 'other'.");
        (await api.Get("/v1/ping", nothing)).ExpectProblem(403, "insufficient_scope", "the caller has no scope.");
    }

    [Fact]
    public async Task a_token_of_an_issuer_for_live_organizations_sees_no_test_organization_and_the_other_way_round()
    {
        await using var api = await TestApi.Start("learning-community", args: [.. SignedTokens.Arguments(), "--Jwt:1:Issuer=https://test.example.com", $"--Jwt:1:Audience={SignedTokens.Audience}", $"--Jwt:1:Secret={SignedTokens.Secret}", "--Jwt:1:Mode=test"]);
        (await api.Post("/v1/organizations", new { id = "lab", test = true })).Expect(201);
        await api.Open("acme");
        foreach (var (issuer, sees, doesNot) in ((string, string, string)[])[(SignedTokens.Issuer, "acme", "lab"), ("https://test.example.com", "lab", "acme")])
        {
            using var own = api.Client(SignedTokens.Hs256(Claims(c => (c["iss"], c["organization"]) = (issuer, sees))));
            using var strange = api.Client(SignedTokens.Hs256(Claims(c => (c["iss"], c["organization"]) = (issuer, doesNot))));
            (await api.Get($"/v1/organizations/{sees}/entitlements", own)).Expect(200);
            (await api.Get($"/v1/organizations/{doesNot}/entitlements", strange)).ExpectProblem(404, "organization_unknown", "");
        }
    }

    [Fact]
    public void claims_are_found_where_the_configuration_says()
    {
        var nested = Read(Claims(c => { c.Remove("organization"); c["app_metadata"] = new JsonObject { ["billing"] = new JsonObject { ["org"] = "acme" } }; }), "OrganizationClaim=app_metadata.billing.org");
        var named = Read(Claims(c => { c.Remove("organization"); c["https://example.com/org"] = "acme"; }), "OrganizationClaim=https://example.com/org");
        var roles = Read(Claims(c => c["realm_access"] = new JsonObject { ["roles"] = new JsonArray("buyer", "offline_access", "ledger:read") }), "ScopeClaim=realm_access.roles", "Scopes=billing:manage,ledger:read", "Roles:buyer=billing:manage usage:write");

        Assert.All([nested, named], caller => Assert.Equal(("acme", Scopes.EntitlementsRead, false), (caller!.Organization, caller.Scopes, caller.Test)));
        Assert.Equal(Scopes.BillingManage | Scopes.LedgerRead, roles!.Scopes);
        Assert.Null(Read(Claims(c => c.Remove("organization"))));
        foreach (var wrong in (JsonNode?[])[null, 7, "", "../acme", "a b", new JsonArray("acme")]) Assert.Null(Read(Claims(c => c["organization"] = wrong), "AllOrganizations=on"));
    }

    [Fact]
    public void only_a_token_without_an_organization_of_an_issuer_for_all_of_them_may_have_ops()
    {
        var operatorOfAll = Read(Claims(c => c.Remove("organization")), "AllOrganizations=on", "Scopes=ledger:read ops", "Mode=both");
        var ofOne = Read(Claims(), "AllOrganizations=on", "Scopes=ledger:read ops", "Mode=both");

        Assert.Equal((null, Scopes.LedgerRead | Scopes.Ops, null), (operatorOfAll!.Organization, operatorOfAll.Scopes, operatorOfAll.Test));
        Assert.Equal(("acme", Scopes.LedgerRead), (ofOne!.Organization, ofOne.Scopes));
    }

    [Fact]
    public void who_it_was_is_written_down_without_saying_who_it_is()
    {
        var (ada, again, bob) = (Read(Claims())!, Read(Claims(c => c["jti"] = "another"))!, Read(Claims(c => c["sub"] = "bob@example.com"))!);

        Assert.Matches("^jwt:id.example.com:[0-9a-f]{24}$", ada.Id);
        Assert.Equal(ada.Id, again.Id);
        Assert.NotEqual(ada.Id, bob.Id);
        Assert.Equal("id.example.com", ada.Name);
        Assert.StartsWith("jwt:front-end:", Read(Claims(), "Name=front-end")!.Id, StringComparison.Ordinal);
    }

    private static Caller? Read(JsonObject claims, params string[] settings) => SignedTokens.Verifier(Time, SignedTokens.Arguments(null, settings)).Read(SignedTokens.Hs256(claims));

    // ---- the standards' own examples

    private const string Example = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

    [Theory]
    [InlineData("HS256", "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow", "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")]
    [InlineData("RS256",
        """{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}""",
        "eyJhbGciOiJSUzI1NiJ9",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw")]
    [InlineData("ES256",
        """{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}""",
        "eyJhbGciOiJFUzI1NiJ9", "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")]
    public void the_examples_of_rfc_7515_appendix_a_are_right_and_changed_ones_are_not(string algorithm, string key, string header, string signature)
    {
        var opened = key[0] == '{' ? Assert.Single(Jwks.Read(Encoding.UTF8.GetBytes(key), out _)) : new SecretKey(Base64Url.DecodeFromChars(key), null);
        Assert.Equal(algorithm, opened.Algorithm);
        var signed = Encoding.ASCII.GetBytes($"{header}.{Example}");
        var decoded = new byte[512];
        Assert.True(Jwt.TryDecode(Encoding.ASCII.GetBytes(signature), decoded, out var length));
        Assert.True(Jwt.TryDecode(Encoding.ASCII.GetBytes(header), new byte[512], out _));
        Assert.Equal((algorithm, null), Jwt.ReadHeader(Base64Url.DecodeFromChars(header)));

        Assert.True(opened.Verify(signed, decoded.AsSpan(0, length)));
        Assert.False(opened.Verify(signed.AsSpan(0, signed.Length - 1), decoded.AsSpan(0, length)));
        Assert.False(opened.Verify(signed, decoded.AsSpan(0, length - 1)));
        Assert.False(opened.Verify(signed, default));
        decoded[length / 2] ^= 1;
        Assert.False(opened.Verify(signed, decoded.AsSpan(0, length)));
    }

    [Fact]
    public void the_claims_of_rfc_7519_section_3_1_are_read_and_refused_because_their_token_has_expired()
    {
        const string key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        using var claims = Jwt.TryReadObject(Base64Url.DecodeFromChars(Example));
        Assert.Equal(("joe", 1_300_819_380L), (claims!.RootElement.GetProperty("iss").GetString(), claims.RootElement.GetProperty("exp").GetInt64()));

        var verifier = SignedTokens.Verifier(Time, "--Jwt:0:Issuer=joe", "--Jwt:0:Audience=x", $"--Jwt:0:Secret=base64:{Convert.ToBase64String(Base64Url.DecodeFromChars(key))}");
        Assert.Null(verifier.Read($"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{Example}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        Assert.Equal(1, verifier.Checks);
    }

    // ---- whatever is wrong

    /// <summary>Wrong tokens for the settings of <see cref="AllKinds"/>, each with what is wrong with it, and whether it reads as a token at all.</summary>
    private static IEnumerable<(string What, string Token, bool IsToken)> Wrong(SignedTokens by)
    {
        const string none = """{"alg":"none"}""";
        string Es(Action<JsonObject> change) => by.Es256(Claims(change));
        string Raw(string header, string claims) => SignedTokens.Signed(header, claims, s => by.Ec.SignData(s, HashAlgorithmName.SHA256));
        var good = by.Es256(Claims());
        var (header, claims, signature) = (good.Split('.')[0], good.Split('.')[1], good.Split('.')[2]);
        var json = Claims().ToJsonString();
        const string es = """{"alg":"ES256","kid":"e1"}""";

        yield return ("alg none without a signature", $"{SignedTokens.Signed(none, json, _ => [])}", true);
        yield return ("alg none with a signature", SignedTokens.Signed(none, json, _ => Base64Url.DecodeFromChars(signature)), true);
        foreach (var spelled in (string[])["None", "NONE", "nOnE", "", "es256", "HS512", "PS256", "RS1", "ES256 "]) yield return ($"alg '{spelled}'", Raw($$"""{"alg":"{{spelled}}","kid":"e1"}""", json), true);
        foreach (var shape in (string[])["null", "7", "[\"ES256\"]", "{}"]) yield return ($"alg {shape}", Raw($$"""{"alg":{{shape}},"kid":"e1"}""", json), true);
        yield return ("no alg", Raw("""{"kid":"e1"}""", json), true);
        yield return ("alg swapped: the EC key for RS256", Raw("""{"alg":"RS256","kid":"e1"}""", json), true);
        yield return ("alg swapped: signed with RSA, for the EC key", SignedTokens.Signed(es, json, s => by.Rsa.SignData(s, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)), true);
        yield return ("RSA with another padding", SignedTokens.Signed("""{"alg":"RS256","kid":"r1"}""", json, s => by.Rsa.SignData(s, HashAlgorithmName.SHA256, RSASignaturePadding.Pss)), true);
        foreach (var (what, secret) in ((string, byte[])[])
            [("its PEM", Encoding.UTF8.GetBytes(by.PublicPem)), ("its DER", by.Rsa.ExportSubjectPublicKeyInfo()), ("its JWKS", Encoding.UTF8.GetBytes(by.Jwks())), ("its modulus", by.Rsa.ExportParameters(false).Modulus!), ("nothing", [])])
            yield return ($"HMAC with the public key as the secret: {what}", SignedTokens.Signed("""{"alg":"HS256","kid":"r1"}""", json, s => HMACSHA256.HashData(secret, s)), true);
        yield return ("HMAC with another secret", SignedTokens.Hs256(Claims(), secret: "another secret of thirty-two bytes, or more"), true);
        yield return ("another's key under our kid", Other(c => c.Es256(Claims())), true);
        yield return ("a key that it brings with itself", Raw($$"""{"alg":"ES256","jwk":{{JsonNode.Parse(by.Jwks())!["keys"]![1]!.ToJsonString()}}}""", json), true);
        yield return ("unknown kid", by.Es256(Claims(), "e2"), true);
        yield return ("no kid where there are several keys", Raw("""{"alg":"ES256"}""", json), true);
        foreach (var kid in (string[])["null", "1", "\"\"", "[\"e1\"]", $"\"{new string('k', 256)}\""]) yield return ("kid of another shape", Raw($$"""{"alg":"ES256","kid":{{kid}}}""", json), true);
        yield return ("kid as a path", Raw("""{"alg":"ES256","kid":"../../dev/null"}""", json), true);
        yield return ("wrong issuer", Es(c => c["iss"] = "https://id.example.org"), true);
        yield return ("an issuer that begins like ours", Es(c => c["iss"] = SignedTokens.Issuer + "/"), true);
        yield return ("no issuer", Es(c => c.Remove("iss")), true);
        yield return ("issuer as a list", Es(c => c["iss"] = new JsonArray(SignedTokens.Issuer)), true);
        yield return ("wrong audience", Es(c => c["aud"] = "shop"), true);
        yield return ("other audiences", Es(c => c["aud"] = new JsonArray("shop", "Billing", 7)), true);
        yield return ("no audience", Es(c => c.Remove("aud")), true);
        yield return ("audience of another issuer", Es(c => c["aud"] = "front"), true);
        yield return ("expired", Es(c => c["exp"] = Now.ToUnixTimeSeconds() - 30), true);
        foreach (var exp in (JsonNode?[])[null, "2030-01-01", "99999999999", -1, 1e300, true, new JsonArray(4_000_000_000)]) yield return ("exp is no time", Es(c => c["exp"] = exp), true);
        yield return ("no exp", Es(c => c.Remove("exp")), true);
        yield return ("not yet valid", Es(c => c["nbf"] = Now.ToUnixTimeSeconds() + 31), true);
        yield return ("nbf is no time", Es(c => c["nbf"] = "now"), true);
        yield return ("no sub", Es(c => c.Remove("sub")), true);
        yield return ("no organization", Es(c => c.Remove("organization")), true);
        yield return ("an organization that is no id", Es(c => c["organization"] = "../other"), true);
        yield return ("half a character", Raw(es, json.Replace("\"acme\"", "\"\\ud800\"", StringComparison.Ordinal)), true);
        yield return ("nested: a token of a token", Raw("""{"alg":"ES256","kid":"e1","cty":"JWT"}""", good), true);
        yield return ("nested, and does not say so", Raw(es, good), true);
        yield return ("a claim twice", Raw(es, json.Replace("{", """{"organization":"other",""", StringComparison.Ordinal)), true);
        yield return ("a claim twice, spelled otherwise", Raw(es, json.Replace("{", """{"organ\u0069zation":"other",""", StringComparison.Ordinal)), true);
        yield return ("a member twice, deep inside", Raw(es, json.Replace("{", """{"x":{"a":1,"a":2},""", StringComparison.Ordinal)), true);
        yield return ("alg twice", Raw("""{"alg":"none","alg":"ES256","kid":"e1"}""", json), true);
        yield return ("kid twice", Raw("""{"alg":"ES256","kid":"r1","kid":"e1"}""", json), true);
        yield return ("crit", Raw("""{"alg":"ES256","kid":"e1","crit":["b64"],"b64":false}""", json), true);
        yield return ("another kind of token", Raw("""{"alg":"ES256","kid":"e1","typ":"logout+jwt"}""", json), true);
        foreach (var other in (string[])["[]", "\"acme\"", "null", "", $"{json} ", $" {json}", $"{json}{json}", json[..^1], json.Replace('"', '\''), "{\"a\":" + new string('[', 40) + new string(']', 40) + "}"])
            yield return ("claims that are no object", Raw(es, other), other.Length > 0);
        yield return ("a header that is no object", Raw("{e1}", json), true);
        yield return ("bytes that are no UTF-8", $"{header}.{Base64Url.EncodeToString([.. Encoding.UTF8.GetBytes(json)[..^2], 0xff, (byte)'"', (byte)'}'])}.{signature}", true);
        yield return ("no signature", $"{header}.{claims}.", true);
        yield return ("a shorter signature", $"{header}.{claims}.{signature[..80]}", true);
        yield return ("a longer signature", $"{header}.{claims}.{signature}AAAA", true);
        yield return ("another's claims", $"{header}.{by.Es256(Claims(c => c["organization"] = "other")).Split('.')[1]}.{signature}", true);

        yield return ("oversized", Es(c => c["x"] = new string('x', Jwt.MaxLength)), false);
        yield return ("one character too long", good + new string('A', Jwt.MaxLength + 1 - good.Length), false);
        yield return ("two parts", $"{header}.{claims}", false);
        yield return ("four parts", $"{good}.{signature}", false);
        yield return ("five parts, as encrypted ones have", $"{header}.{claims}.{signature}.AAAA.AAAA", false);
        yield return ("padding", $"{good}==", false);
        yield return ("a space inside", good.Insert(good.Length / 2, " "), false);
        yield return ("the other alphabet", $"{header}.{claims}.{"+/" + signature[2..]}", false);
        yield return ("stray bits at the end", $"{header}.{claims}.{signature[..^1]}{(char)(signature[^1] + 1)}", false);
        yield return ("an e", "e", false);

        static string Other(Func<SignedTokens, string> make)
        {
            using var other = new SignedTokens();
            return make(other);
        }
    }

    /// <summary>One issuer with a set of keys, and one with a secret.</summary>
    private static string[] AllKinds(SignedTokens by, string folder)
    {
        var file = Path.Combine(folder, "jwks.json");
        File.WriteAllText(file, by.Jwks());
        return [.. SignedTokens.Arguments($"Jwks={file}"), "--Jwt:1:Issuer=front", "--Jwt:1:Audience=front", $"--Jwt:1:Secret={SignedTokens.Secret}"];
    }

    [Fact]
    public async Task whatever_is_wrong_with_a_token_the_answer_is_the_same()
    {
        using var by = new SignedTokens();
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        await using var api = await TestApi.Start("learning-community", args: AllKinds(by, folder));
        Directory.Delete(folder, recursive: true);
        await api.Open("acme");
        await api.Open("other");
        foreach (var good in (string[])[by.Es256(Claims()), by.Rs256(Claims()), SignedTokens.Hs256(Claims(c => (c["iss"], c["aud"]) = ("front", "front")))])
        {
            using var client = api.Client(good);
            (await api.Get("/v1/organizations/acme/entitlements", client)).Expect(200);
        }

        var expected = await Ask("bk_live_" + new string('0', 48));
        expected.ExpectProblem(401, "unauthenticated", "");
        Assert.Equal("Bearer", expected.Headers["WWW-Authenticate"]);
        foreach (var (what, token, _) in Wrong(by))
        {
            var answer = await Ask(token);
            Assert.True(expected.Status == answer.Status, $"{what}: {answer.Status} {answer.Text}");
            Assert.Equal(expected.Text, answer.Text);
            Assert.Equal(WithoutDate(expected), WithoutDate(answer));
        }
        // Two of them at once are none.
        Assert.Equal(expected.Text, (await api.Raw("", "GET /v1/organizations/acme/entitlements", $"Authorization: Bearer {by.Es256(Claims())}", $"Authorization: Bearer {by.Es256(Claims())}")).Text);

        async Task<Answer> Ask(string token)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/organizations/acme/entitlements");
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
            return await api.Send(request, api.Anonymous);
        }

        static IEnumerable<string> WithoutDate(Answer answer) => answer.Headers.Where(h => h.Key != "Date").Select(h => $"{h.Key}: {h.Value}").Order(StringComparer.Ordinal);
    }

    [Fact]
    public void whatever_is_wrong_with_a_token_one_signature_is_checked()
    {
        using var by = new SignedTokens();
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        var verifier = SignedTokens.Verifier(Time, AllKinds(by, folder));
        Directory.Delete(folder, recursive: true);
        foreach (var (what, token, isToken) in Wrong(by))
        {
            var before = verifier.Checks;
            Assert.True(verifier.Read(token) is null, what);
            // What reads as no token at all is no secret to whoever wrote it.
            Assert.True(verifier.Checks - before == (isToken ? 1 : 0), $"{what}: {verifier.Checks - before} signatures were checked.");
        }
        // A right one: once, and then it is known.
        var good = by.Rs256(Claims());
        var checks = verifier.Checks;
        for (var i = 0; i < 3; i++) Assert.Equal("acme", verifier.Read(good)?.Organization);
        Assert.Equal(checks + 1, verifier.Checks);
    }

    [Fact]
    public void no_bit_of_a_token_can_be_flipped()
    {
        using var by = new SignedTokens();
        var folder = Directory.CreateTempSubdirectory("billing-").FullName;
        var verifier = SignedTokens.Verifier(Time, AllKinds(by, folder));
        Directory.Delete(folder, recursive: true);
        foreach (var token in (string[])[by.Es256(Claims()), by.Rs256(Claims()), SignedTokens.Hs256(Claims(c => (c["iss"], c["aud"]) = ("front", "front")))])
        {
            var characters = token.ToCharArray();
            for (var i = 0; i < characters.Length; i++)
                for (var bit = 0; bit < 8; bit++)
                {
                    characters[i] ^= (char)(1 << bit);
                    Assert.True(verifier.Read(characters) is null, $"Bit {bit} of character {i} may be another.");
                    characters[i] ^= (char)(1 << bit);
                }
            Assert.NotNull(verifier.Read(characters));
        }
    }

    [Fact]
    public void of_twenty_thousand_random_and_changed_tokens_none_gets_in()
    {
        using var by = new SignedTokens();
        var random = new Random(7);
        var verifier = SignedTokens.Verifier(Time, SignedTokens.Arguments());
        var browser = new BrowserTokens(new byte[32], new Clock(Time));
        string[] good = [SignedTokens.Hs256(Claims()), SignedTokens.Hs256(Claims(c => c["organization"] = "other")), browser.Sign("acme", false, Now + Duration.FromHours(1))];
        const string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
        for (var i = 0; i < 20_000; i++)
        {
            var from = good[random.Next(good.Length)];
            var token = new StringBuilder(from);
            switch (random.Next(5))
            {
                case 0: token = new StringBuilder((i % 2 == 0 ? "eyJ" : BrowserTokens.Prefix) + new string(random.GetItems<char>(alphabet, random.Next(1, 400)))); break;
                case 1: token[random.Next(token.Length)] = alphabet[random.Next(alphabet.Length)]; break;
                case 2: token.Remove(random.Next(token.Length), 1); break;
                case 3: token.Insert(random.Next(token.Length), alphabet[random.Next(alphabet.Length)]); break;
                // One's beginning and another's end.
                default: var at = random.Next(1, from.Length); token = new StringBuilder(from[..at] + good[random.Next(good.Length)][Math.Min(at, 60)..]); break;
            }
            var text = token.ToString();
            if (good.Contains(text)) continue;
            Assert.True(verifier.Read(text) is null && browser.Read(text) is null, text);
        }
        Assert.All(good, token => Assert.NotNull(verifier.Read(token) ?? browser.Read(token)));
    }

    // ---- time

    [Fact]
    public void a_token_ends_and_begins_with_the_leeway_and_not_a_second_later()
    {
        foreach (var (settings, leeway) in ((string[], int)[])[([], 30), (["LeewaySeconds=0"], 0), (["LeewaySeconds=300"], 300)])
        {
            var time = Time;
            var verifier = SignedTokens.Verifier(time, SignedTokens.Arguments(null, settings));
            var token = SignedTokens.Hs256(Claims(c => { c["nbf"] = Now.ToUnixTimeSeconds() + 1_000; c["exp"] = Now.ToUnixTimeSeconds() + 2_000.5; }));
            Assert.Null(At(1_000 - leeway - 1));
            Assert.NotNull(At(1_000 - leeway));
            // One that is known already, too.
            Assert.NotNull(At(2_000 + leeway - 1));
            Assert.Null(At(2_000 + leeway));

            Caller? At(int seconds)
            {
                time.Now = Now + Duration.FromSeconds(seconds);
                return verifier.Read(token);
            }
        }
    }

    // ---- settings

    [Theory]
    [InlineData("Jwt:0:Issuer is missing", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x")]
    [InlineData("Jwt:0:Audience is missing", "--Jwt:0:Issuer=i", "--Jwt:0:Secret=0123456789012345678901234567890x")]
    [InlineData("must be set, and not both", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a")]
    [InlineData("must be set, and not both", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Jwks=https://id.example.com/jwks")]
    [InlineData("has 31 bytes; HS256 needs 32", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890")]
    [InlineData("has 16 bytes; HS256 needs 32", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=base64:MDEyMzQ1Njc4OTAxMjM0NQ==")]
    [InlineData("the rest is no base64", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=base64:***")]
    [InlineData("is 'none'", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Algorithm=none")]
    [InlineData("is RS256, and a shared secret is for HS256", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Algorithm=RS256")]
    [InlineData("public keys are no secret", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Jwks=https://id.example.com/jwks", "--Jwt:0:Algorithm=HS256")]
    [InlineData("must be a file or an https address", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Jwks=http://id.example.com/jwks")]
    [InlineData("must be a file or an https address", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Jwks=ftp://127.0.0.1/jwks")]
    [InlineData("goes with a secret", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Jwks=https://id.example.com/jwks", "--Jwt:0:KeyId=1")]
    [InlineData("Jwt:0:LeewaySeconds is '301'", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:LeewaySeconds=301")]
    [InlineData("is 'everything'; scopes are", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Scopes=everything")]
    [InlineData("needs :AllOrganizations on", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Scopes=ops")]
    [InlineData("must be live, test or both", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Mode=prod")]
    [InlineData("Jwt:0:Audiences is no setting", "--Jwt:0:Issuer=i", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x", "--Jwt:0:Audiences=b")]
    [InlineData("is 'a b'; it must be 1 to 64 letters", "--Jwt:0:Issuer=a b", "--Jwt:0:Audience=a", "--Jwt:0:Secret=0123456789012345678901234567890x")]
    [InlineData("Jwt:Issuer has no number", "--Jwt:Issuer=i")]
    public void what_cannot_work_is_said_at_the_start(string sentence, params string[] arguments)
    {
        var e = Assert.Throws<SettingsException>(() => JwtIssuer.ReadAll(SignedTokens.Configuration(arguments)));
        Assert.Contains(sentence, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("01234567890", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void a_file_of_keys_that_is_not_there_or_has_none_that_can_be_used_is_said_at_the_start()
    {
        Assert.Contains("cannot be read", Assert.Throws<SettingsException>(() => SignedTokens.Verifier(Time, SignedTokens.Arguments("Jwks=/nowhere/jwks.json"))).Message, StringComparison.Ordinal);
        using var weak = RSA.Create(1024);
        var n = Base64Url.EncodeToString(weak.ExportParameters(false).Modulus);
        var file = Path.GetTempFileName();
        File.WriteAllText(file, $$"""
            {"keys":[
              {"kty":"RSA","kid":"weak","n":"{{n}}","e":"AQAB"}, {"kty":"oct","kid":"shared","k":"{{n}}"}, {"kty":"EC","kid":"wide","crv":"P-384","x":"AA","y":"AA"}, {"kty":"RSA","kid":"pss","alg":"PS256","n":"{{n}}","e":"AQAB"},
              {"kty":"EC","kid":"off","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a1"}, {"kty":"RSA","kid":"enc","use":"enc","n":"{{n}}","e":"AQAB"}
            ]}
            """);
        var message = Assert.Throws<SettingsException>(() => SignedTokens.Verifier(Time, SignedTokens.Arguments($"Jwks={file}"))).Message;
        foreach (var reason in (string[])["weak: it has 1024 bits", "shared: its kind is kty oct", "wide: its kind is kty EC", "pss: its kind is kty RSA, alg PS256", "off: ", "enc: it is for 'enc'"]) Assert.Contains(reason, message, StringComparison.Ordinal);
        foreach (var other in (string[])["[]", "{}", """{"keys":{}}""", "nothing", """{"keys":[],"keys":[]}"""])
        {
            File.WriteAllText(file, other);
            Assert.Contains("cannot be read: It is no JWKS", Assert.Throws<SettingsException>(() => SignedTokens.Verifier(Time, SignedTokens.Arguments($"Jwks={file}"))).Message, StringComparison.Ordinal);
        }
        File.Delete(file);
    }
}
