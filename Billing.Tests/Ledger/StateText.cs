using System.Collections;
using System.Globalization;
using System.Reflection;
using System.Text;
using Billing.Ledger;
using NodaTime;

namespace Billing.Tests.Ledger;

/// <summary>A state as text, member by member, so that two states can be compared by all that is in them.</summary>
internal static class StateText
{
    public static string Of(object? value)
    {
        var text = new StringBuilder();
        Write(text, value, 0);
        return text.ToString();
    }

    private static void Write(StringBuilder text, object? value, int depth)
    {
        switch (value)
        {
            case null or string or bool or Enum or Instant or DateTimeZone:
                text.Append(CultureInfo.InvariantCulture, $"{value ?? "null"}\n");
                break;
            case BillingCycle cycle:
                // Where it turns is all that a cycle is.
                for (var day = 0; day < 800; day += 13)
                {
                    var at = Instant.FromUtc(2026, 1, 1, 0, 0) + Duration.FromDays(day);
                    text.Append(CultureInfo.InvariantCulture, $"{cycle.Month(at)} {cycle.Period(at)}\n");
                }
                break;
            case IFormattable number when value.GetType().IsPrimitive || value is decimal:
                text.Append(CultureInfo.InvariantCulture, $"{number}\n");
                break;
            case IEnumerable items:
                text.Append("[\n");
                foreach (var item in items) Write(text.Append(' ', depth * 2 + 2), item, depth + 1);
                text.Append(' ', depth * 2).Append("]\n");
                break;
            default:
                text.Append(value.GetType().Name).Append('\n');
                foreach (var property in value.GetType().GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.GetIndexParameters().Length == 0))
                    Write(text.Append(' ', depth * 2 + 2).Append(property.Name).Append(' '), property.GetValue(value), depth + 1);
                break;
        }
    }
}
