using System.Runtime.CompilerServices;
using System.Text;

namespace Billing.Tests.Simulation;

/// <summary>What the auditor found. The world around it adds the seed, the step and the last events.</summary>
internal sealed class AuditException(string message) : Exception(message);

internal static class Audit
{
    public static void Require(bool holds, [InterpolatedStringHandlerArgument(nameof(holds))] ref Finding finding)
    {
        if (!holds) throw new AuditException(finding.ToString());
    }

    /// <summary>A sentence that is only put together when it is needed: for each wrong answer there are millions of right ones.</summary>
    [InterpolatedStringHandler]
    public readonly struct Finding
    {
        private readonly StringBuilder? text;

        public Finding(int literalLength, int formattedCount, bool holds, out bool isNeeded)
        {
            isNeeded = !holds;
            text = isNeeded ? new StringBuilder(literalLength + 16 * formattedCount) : null;
        }

        public void AppendLiteral(string literal) => text!.Append(literal);

        public void AppendFormatted<T>(T value) => text!.Append(value is null ? "nothing" : value.ToString());

        public override string ToString() => text?.ToString() ?? "";
    }
}
