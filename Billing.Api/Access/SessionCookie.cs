using System.Security.Cryptography;
using System.Text;
using Billing.Silo;

namespace Billing.Api;

/// <summary>
/// The cookie of a signed-in browser. A browser sends it with what other sites make it send, too, so a request that changes something
/// must have the form's token beside it, in the header <c>X-Form-Token</c> or the form's field <c>form_token</c>.
/// </summary>
public static class SessionCookie
{
    public const string Header = "X-Form-Token";
    public const string Field = "form_token";

    private const string Name = "billing_session";

    /// <summary>With <c>__Host-</c> a browser takes it over https only, for this host and the whole of it.</summary>
    private static string NameFor(HttpContext http) => http.Request.IsHttps ? $"__Host-{Name}" : Name;

    public static string? Of(HttpContext http) => http.Request.Cookies[NameFor(http)];

    /// <summary>It goes with the browser's own session; when it ends before that is known here.</summary>
    public static void Set(HttpContext http, string token) => http.Response.Cookies.Append(NameFor(http), token, new CookieOptions
    {
        HttpOnly = true, Secure = http.Request.IsHttps, SameSite = SameSiteMode.Lax, Path = "/", IsEssential = true,
    });

    public static void Remove(HttpContext http) => http.Response.Cookies.Delete(NameFor(http), new CookieOptions { HttpOnly = true, Secure = http.Request.IsHttps, SameSite = SameSiteMode.Lax, Path = "/" });

    /// <summary>Whether the request may do what it asks: it changes nothing, or it comes from a page of this session.</summary>
    public static bool IsOwn(HttpContext http, string token, string? field = null)
    {
        if (HttpMethods.IsGet(http.Request.Method) || HttpMethods.IsHead(http.Request.Method)) return true;
        var given = field ?? http.Request.Headers[Header].ToString();
        return CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(given), Encoding.UTF8.GetBytes(BrowserSessions.FormToken(token)));
    }
}
