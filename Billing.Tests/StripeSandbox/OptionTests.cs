using Billing.StripeSandbox;

namespace Billing.Tests.StripeSandbox;

public sealed class OptionTests
{
    [Fact]
    public void options_are_read_and_what_is_not_understood_is_refused()
    {
        var read = SandboxOptions.Read(["--port", "12345", "--webhook", "http://localhost:5080/webhooks/stripe", "--secret", "whsec_x", "--key", "sk_test_x"])!;
        Assert.Equal((12345, "http://localhost:5080/webhooks/stripe", "whsec_x", "sk_test_x", true), (read.Port, read.WebhookUrl!.ToString(), read.WebhookSecret, read.ApiKey, read.RunsByItself));

        Assert.Equal("127.0.0.1", $"{read.Listen}");
        Assert.Equal("0.0.0.0", $"{SandboxOptions.Read(["--listen", "0.0.0.0"])!.Listen}");
        Assert.Null(SandboxOptions.Read(["--listen", "everywhere"]));
        Assert.Null(SandboxOptions.Read(["--port"]));
        Assert.Null(SandboxOptions.Read(["--port", "none"]));
        Assert.Null(SandboxOptions.Read(["--key", "sk_live_x"]));
        Assert.Null(SandboxOptions.Read(["--webhook", "https://elsewhere.example/"]));
        Assert.Null(SandboxOptions.Read(["--speed", "9"]));
    }

    [Fact]
    public async Task the_sandboxs_own_page_shows_what_happened_and_moves_the_clock()
    {
        await using var stripe = await SandboxClient.Open();
        await stripe.Customer();
        Assert.Contains("customer.created", (await stripe.Browse("/")).Text, StringComparison.Ordinal);

        await stripe.Browse("/advance", "by=month");

        Assert.Equal("2026-12-20T10:00:00Z", $"{stripe.Server.Now:yyyy-MM-ddTHH:mm:ssZ}");
        Assert.Contains("20 Dec 2026 10:00", (await stripe.Browse("/")).Text, StringComparison.Ordinal);
    }
}
