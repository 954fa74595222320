using System.Net;
using System.Runtime.CompilerServices;
using System.Text;

namespace Billing.StripeSandbox;

/// <summary>HTML as an interpolated string: what is written in the code is markup, what is put into its holes is text and is encoded on the way in.</summary>
[InterpolatedStringHandler]
internal sealed class Html(int literalLength, int formattedCount)
{
    private readonly StringBuilder text = new(literalLength + 32 * formattedCount);

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
