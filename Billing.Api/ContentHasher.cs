using System.Buffers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Billing.Api;

/// <summary>Hashes JSON so that the order of members and white space do not count and everything else does.</summary>
internal sealed class ContentHasher
{
    private readonly ArrayBufferWriter<byte> buffer = new(512);

    public void Text(string text) => Encoding.UTF8.GetBytes(text, buffer);

    public void Value(JsonElement json)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.Object:
                Text("{");
                foreach (var member in json.EnumerateObject().OrderBy(m => m.Name, StringComparer.Ordinal))
                {
                    Text($"{member.Name.Length}:{member.Name}=");
                    Value(member.Value);
                }
                Text("}");
                break;
            case JsonValueKind.Array:
                Text("[");
                foreach (var item in json.EnumerateArray())
                {
                    Value(item);
                    Text(",");
                }
                Text("]");
                break;
            case JsonValueKind.String:
                var text = json.GetString()!;
                Text($"\"{text.Length}:{text}");
                break;
            default:
                Text(json.GetRawText());
                Text(";");
                break;
        }
    }

    public byte[] Finish() => SHA256.HashData(buffer.WrittenSpan);
}
