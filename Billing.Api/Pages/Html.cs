using System.Net;
using System.Runtime.CompilerServices;
using System.Text;

namespace Billing.Api.Pages;

/// <summary>
/// HTML as an interpolated string: what is written in the code is markup, what is put into its holes is text and is encoded on the way in.
/// So nothing that a customer wrote becomes markup, and nobody has to remember to see to that.
/// </summary>
[InterpolatedStringHandler]
public sealed class Html
{
    private readonly StringBuilder text;

    public Html(int literalLength, int formattedCount) => text = new StringBuilder(literalLength + 32 * formattedCount);

    public static Html Nothing => $"";

    public void AppendLiteral(string markup) => text.Append(markup);

    public void AppendFormatted(string? value) => text.Append(WebUtility.HtmlEncode(value));

    public void AppendFormatted(Html? value) => text.Append(value?.text);

    public void AppendFormatted(IEnumerable<Html> values)
    {
        foreach (var value in values) text.Append(value.text);
    }

    public override string ToString() => text.ToString();
}
