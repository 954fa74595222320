using Billing.Api;
using Billing.Silo;
using Microsoft.Extensions.Configuration;

namespace Billing.Tests.Stripe;

/// <summary>What may be set, and what is refused before anything starts.</summary>
public sealed class StripeSettingsTests
{
    private static Settings Read(bool isDevelopment, params (string Name, string Value)[] set) => Settings.Read(
        new ConfigurationBuilder().AddInMemoryCollection(set.Append(("Billing:Catalog", Repository.Catalog("summarizer"))).Select(s => KeyValuePair.Create(s.Item1, (string?)s.Item2))).Build(),
        isDevelopment, Repository.Root);

    private static string Refused(bool isDevelopment, params (string Name, string Value)[] set) => Assert.Throws<SettingsException>(() => Read(isDevelopment, set)).Message;

    [Fact]
    public void a_live_key_is_refused_in_development()
    {
        Assert.Contains("live key", Refused(true, ("STRIPE_SECRET_KEY", "sk_live_abc")));
        Assert.Contains("live key", Refused(true, ("STRIPE_API_KEY", "rk_live_abc")));
        Assert.Equal("sk_live_abc", Read(false, ("STRIPE_SECRET_KEY", "sk_live_abc")).StripeKey);
        Assert.Equal("sk_test_abc", Read(true, ("STRIPE_SECRET_KEY", "sk_test_abc")).StripeKey);
    }

    [Theory]
    [InlineData("pk_test_abc")]
    [InlineData("whsec_abc")]
    [InlineData("sk_test_")]
    [InlineData("sk_test_a b")]
    public void what_is_no_secret_key_is_refused_and_not_repeated(string key)
    {
        var message = Refused(true, ("STRIPE_SECRET_KEY", key));
        Assert.Contains("STRIPE_SECRET_KEY is no secret key", message);
        Assert.DoesNotContain(key == "sk_test_" ? "\0" : key, message);
    }

    [Fact]
    public void stripe_is_at_its_own_address_or_on_this_machine()
    {
        Assert.Equal(Settings.StripeUrl + "/", Read(false).StripeAddress.ToString());
        Assert.Equal("http://127.0.0.1:12111/", Read(false, ("Billing:StripeUrl", "http://127.0.0.1:12111")).StripeAddress.ToString());
        Assert.Contains("Billing:StripeUrl", Refused(false, ("Billing:StripeUrl", "https://stripe.example.com")));
        Assert.Contains("Billing:StripeUrl", Refused(false, ("Billing:StripeUrl", "stripe")));
        Assert.Contains("live key", Refused(false, ("Billing:StripeUrl", "http://127.0.0.1:12111"), ("STRIPE_SECRET_KEY", "sk_live_abc")));
    }

    [Fact]
    public void the_stand_in_starts_in_development_without_a_key_only()
    {
        Assert.True(Read(true).StartsStripeSandbox);
        Assert.False(Read(true, ("Billing:StripeSandbox", "off")).StartsStripeSandbox);
        Assert.False(Read(true, ("STRIPE_SECRET_KEY", "sk_test_abc")).StartsStripeSandbox);
        Assert.False(Read(false).StartsStripeSandbox);
    }

    [Fact]
    public void browsers_are_sent_back_to_allowed_hosts_only()
    {
        var urls = Read(false, ("FRONTEND_URL", "https://app.example.com/"), ("Billing:AllowedReturnHosts", "example.com, localhost:3000")).ReturnUrls;

        Assert.Equal("https://app.example.com/billing/success", urls.Of(null, "billing/success", "success_url"));
        foreach (var good in (string[])["https://app.example.com/x?y={CHECKOUT_SESSION_ID}", "https://example.com", "http://localhost:3000/a", "https://APP.example.com/"])
            Assert.Equal(good, urls.Of(good, "", "success_url"));
        foreach (var bad in (string[])["https://evil.example", "https://app.example.com.evil.example", "https://app.example.com:8443/", "https://app.example.com@evil.example/", "http://localhost/", "http://127.0.0.1:3000/", "//app.example.com", "/billing", "javascript:alert(1)", "data:text/html,x", "https://a:b@app.example.com/", "ftp://app.example.com/", ""])
            Assert.Throws<ApiException>(() => urls.Of(bad, "", "success_url"));
    }

    [Fact]
    public void in_development_browsers_may_be_sent_to_this_machine()
    {
        Assert.Equal("http://localhost:3000/a", Read(true).ReturnUrls.Of("http://localhost:3000/a", "", "return_url"));
        Assert.Equal("missing_field", Assert.Throws<ApiException>(() => Read(true).ReturnUrls.Of(null, "billing", "return_url")).Code);
        Assert.Contains("FRONTEND_URL", Refused(true, ("FRONTEND_URL", "app.example.com")));
    }
}
