using Billing.Silo;

namespace Billing.Api.Pages;

/// <summary>Who invoices are from. All of it is configuration.</summary>
/// <param name="Logo">The address of an image: <c>https:</c>, or <c>data:</c> with the image in it.</param>
/// <param name="Footer">At the foot of every invoice: how to pay, the register, the bank.</param>
public sealed record Seller(string? Name, IReadOnlyList<string> Address, string? Email, string? TaxId, string? Logo, IReadOnlyList<string> Footer)
{
    public const int MaxLogoBytes = 256 * 1024;

    private static readonly Dictionary<string, string> Images = new(StringComparer.OrdinalIgnoreCase)
    {
        [".svg"] = "image/svg+xml", [".png"] = "image/png", [".jpg"] = "image/jpeg", [".jpeg"] = "image/jpeg", [".webp"] = "image/webp", [".gif"] = "image/gif",
    };

    /// <exception cref="SettingsException">The logo is none.</exception>
    public static Seller Read(IConfiguration configuration)
    {
        var seller = configuration.GetSection("Billing:Seller");
        return new Seller(seller["Name"], Lines(seller["Address"]), seller["Email"], seller["TaxId"], Image(seller["Logo"]), Lines(seller["Footer"]));
    }

    /// <summary>Line breaks, or | where a variable cannot have one.</summary>
    private static string[] Lines(string? text) => (text ?? "").Split(['\n', '|'], StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>A file's image is put into the page: it prints without asking anybody.</summary>
    private static string? Image(string? logo)
    {
        if (string.IsNullOrWhiteSpace(logo)) return null;
        if (logo.StartsWith("data:image/", StringComparison.Ordinal) || (Uri.TryCreate(logo, UriKind.Absolute, out var uri) && uri.Scheme == Uri.UriSchemeHttps)) return logo;
        if (!Images.TryGetValue(Path.GetExtension(logo), out var type) || !File.Exists(logo))
            throw new SettingsException($"Billing:Seller:Logo is '{logo}'; it must be an https: address, or the path of an image ({string.Join(", ", Images.Keys)}) that is there.");
        var bytes = File.ReadAllBytes(logo);
        if (bytes.Length > MaxLogoBytes) throw new SettingsException($"The logo '{logo}' has {bytes.Length} bytes; at most {MaxLogoBytes} are put on every invoice.");
        return $"data:{type};base64,{Convert.ToBase64String(bytes)}";
    }
}
