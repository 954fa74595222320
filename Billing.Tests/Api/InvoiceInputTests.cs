namespace Billing.Tests.Api;

/// <summary>What about invoices, terms and profiles is refused, by which code and field.</summary>
public sealed class InvoiceInputTests(InvoiceInputTests.Fixture fixture) : IClassFixture<InvoiceInputTests.Fixture>
{
    private const string Acme = "/v1/organizations/acme";

    private readonly TestApi api = fixture.Api;

    /// <summary>One service for all of these tests, because none of them changes anything.</summary>
    public sealed class Fixture : IAsyncLifetime
    {
        public TestApi Api { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            Api = await TestApi.Start("quantum");
            await Api.Open("acme");
            (await Api.Post($"{Acme}/invoices/lines", new { description = "Setup", amount = 10_000 })).Expect(201);
        }

        public async Task DisposeAsync() => await Api.DisposeAsync();
    }

    [Theory]
    [InlineData("invoices/generate", """{"currency":"xxx"}""", 409, "nothing_to_invoice", "There is nothing to invoice in 'xxx'")]
    [InlineData("invoices/generate", """{"drafty":true}""", 400, "unknown_field", "There is no field 'drafty' here.")]
    [InlineData("invoices/lines", """{"amount":5}""", 400, "missing_field", "Say what it is for")]
    [InlineData("invoices/lines", """{"description":"Setup"}""", 400, "missing_field", "Say how much, in minor units")]
    [InlineData("invoices/lines", """{"description":"Setup","amount":0}""", 400, "quantity_not_positive", "An amount is not 0")]
    [InlineData("invoices/lines", """{"description":"Setup","amount":1.5}""", 400, "invalid_field", "'amount' has a wrong value")]
    [InlineData("invoices/lines", """{"description":"Setup","amount":1000000000000001}""", 400, "quantity_too_large", "At most 1000000000000000 minor units")]
    [InlineData("invoices/lines", """{"description":"Setup","amount":1,"currency":"eur"}""", 400, "price_unknown", "The catalog sells nothing in 'eur'.")]
    [InlineData("invoices/lines", """{"description":"a\tb","amount":1}""", 400, "invalid_field", "'description' has no control characters.")]
    [InlineData("invoices/INV-1/pay", """{}""", 404, "invoice_unknown", "There is no invoice 'INV-1'.")]
    [InlineData("invoices/INV-1/finalize", """{}""", 404, "invoice_unknown", "There is no invoice 'INV-1'.")]
    [InlineData("invoices/INV-1/finalize", """{"number":1}""", 400, "unknown_field", "There is no field 'number' here.")]
    [InlineData("credits", """{}""", 400, "missing_field", "Say how much, in minor units.")]
    [InlineData("credits", """{"amount":-1}""", 400, "quantity_not_positive", "A quantity is more than 0.")]
    public async Task what_cannot_be_is_refused_and_changes_nothing(string path, string body, int status, string code, string sentence)
    {
        var before = (await api.Get($"{Acme}")).Text;

        (await api.Post($"{Acme}/{path}", body)).ExpectProblem(status, code, sentence);
        (await api.Send(HttpMethod.Post, $"{Acme}/{path}", body)).Expect(400);
        Assert.Equal(before, (await api.Get($"{Acme}")).Text);
    }

    [Theory]
    [InlineData("""{"tax":{"rate":5}}""", "missing_field", "tax.name")]
    [InlineData("""{"tax":{"name":"VAT"}}""", "missing_field", "tax.rate")]
    [InlineData("""{"tax":{"name":"VAT","rate":100.1}}""", "invalid_field", "tax.rate")]
    [InlineData("""{"tax":{"name":"VAT","rate":-1}}""", "invalid_field", "tax.rate")]
    [InlineData("""{"tax":{"name":"VAT","rate":7.12345}}""", "invalid_field", "tax.rate")]
    [InlineData("""{"tax":{"name":"VAT","rate":"7"}}""", "invalid_field", "tax.rate")]
    [InlineData("""{"discount":{}}""", "invalid_field", "discount")]
    [InlineData("""{"discount":{"percent":5,"amount":5}}""", "invalid_field", "discount")]
    [InlineData("""{"discount":{"percent":0}}""", "invalid_field", "discount.percent")]
    [InlineData("""{"discount":{"percent":100.0001}}""", "invalid_field", "discount.percent")]
    [InlineData("""{"discount":{"percent":5,"currency":"usd"}}""", "invalid_field", "discount.currency")]
    [InlineData("""{"discount":{"amount":0}}""", "invalid_field", "discount.amount")]
    [InlineData("""{"discount":{"amount":5,"currency":"eur"}}""", "price_unknown", "discount.currency")]
    [InlineData("""{"discount":{"percent":5,"until":"2026-11-20T10:00:00Z"}}""", "expiry_in_past", "discount.until")]
    public async Task terms_that_cannot_be_are_refused_by_their_field(string body, string code, string field)
    {
        (await api.Put($"{Acme}/billing-terms", body)).ExpectProblem(400, code, "", field);
        Assert.Equal("catalog", (await api.Get($"{Acme}/billing-terms")).String("tax_source"));
    }

    [Theory]
    [InlineData("""{"email":"nobody"}""", "email")]
    [InlineData("""{"email":"@acme.example"}""", "email")]
    [InlineData("""{"email":"a@b@c"}""", "email")]
    [InlineData("""{"email":"a b@c"}""", "email")]
    [InlineData("""{"name":"two\nlines"}""", "name")]
    [InlineData("""{"address":"a\u0000b"}""", "address")]
    public async Task a_profile_that_cannot_be_is_refused(string body, string field)
    {
        (await api.Put($"{Acme}/profile", body)).ExpectProblem(400, "invalid_field", "", field);
        (await api.Put($"{Acme}/profile", new { name = new string('n', 201) })).ExpectProblem(400, "invalid_field", "at most 200 characters", "name");
    }
}
