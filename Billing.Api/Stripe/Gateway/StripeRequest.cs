using System.Globalization;
using System.Text;
using NodaTime;

namespace Billing.Api.Stripe;

/// <summary>What is asked of Stripe. <see cref="StripeRequests"/> has every request that is ever made.</summary>
/// <param name="Path">Below the host, such as <c>/v1/customers</c>.</param>
/// <param name="Form">Names in Stripe's spelling, such as <c>items[0][price]</c>: the body of a POST, the query of a GET or DELETE.</param>
public sealed record StripeRequest(HttpMethod Method, string Path, StripeForm Form)
{
    /// <summary>Of a POST: derived from the command that it belongs to, the same at every try.</summary>
    public string? Key { get; init; }

    /// <summary>The organization that it is for, or null.</summary>
    public string? Organization { get; init; }

    /// <summary>How to find out whether it was done, when a day later its answer is not known: what it made, or null. Without it such a request fails with outcome_unknown.</summary>
    public Func<IStripeGateway, Task<System.Text.Json.JsonElement?>>? Find { get; init; }

    public static StripeRequest Get(string path, StripeForm? query = null) => new(HttpMethod.Get, path, query ?? []);

    /// <param name="key">At most 255 characters.</param>
    public static StripeRequest Post(string path, string key, string? organization, StripeForm form) => new(HttpMethod.Post, path, form) { Key = key, Organization = organization };

    public static StripeRequest Delete(string path, StripeForm? query = null) => new(HttpMethod.Delete, path, query ?? []);
}

/// <summary>A form in Stripe's spelling. Nothing is added for null.</summary>
public sealed class StripeForm : List<KeyValuePair<string, string>>
{
    public void Add(string name, string? value)
    {
        if (value is not null) Add(new KeyValuePair<string, string>(name, value));
    }

    public void Add(string name, long? value) => Add(name, value?.ToString(CultureInfo.InvariantCulture));

    public void Add(string name, bool? value) => Add(name, value switch { true => "true", false => "false", null => null });

    public void Add(string name, Instant? value) => Add(name, value?.ToUnixTimeSeconds());

    /// <summary>What <see cref="Encode"/> wrote.</summary>
    public static StripeForm Decode(ReadOnlySpan<byte> body)
    {
        var form = new StripeForm();
        foreach (var pair in Encoding.ASCII.GetString(body).Split('&', StringSplitOptions.RemoveEmptyEntries))
            form.Add(Uri.UnescapeDataString(pair[..pair.IndexOf('=')]), Uri.UnescapeDataString(pair[(pair.IndexOf('=') + 1)..]));
        return form;
    }

    /// <summary>As <c>application/x-www-form-urlencoded</c>.</summary>
    public string Encode()
    {
        var text = new StringBuilder();
        foreach (var (name, value) in this)
            text.Append(text.Length == 0 ? "" : "&").Append(Uri.EscapeDataString(name).Replace("%5B", "[").Replace("%5D", "]")).Append('=').Append(Uri.EscapeDataString(value));
        return text.ToString();
    }
}
