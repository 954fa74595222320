using System.Buffers;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Billing.Api;

/// <summary>
/// SHA-256 over <c>METHOD path json</c>, where the JSON is as it was sent but for two things: members stand in the order
/// of their names, and white space between tokens is gone.
/// </summary>
internal static class ContentHasher
{
    [ThreadStatic] private static ArrayBufferWriter<byte>? buffer;

    public static byte[] Hash(string method, string path, JsonElement json)
    {
        var text = buffer ??= new ArrayBufferWriter<byte>(1024);
        text.ResetWrittenCount();
        Encoding.UTF8.GetBytes(method, text);
        text.Write(" "u8);
        Encoding.UTF8.GetBytes(path, text);
        text.Write(" "u8);
        Write(text, json);
        return SHA256.HashData(text.WrittenSpan);
    }

    private static void Write(ArrayBufferWriter<byte> text, JsonElement json)
    {
        if (json.ValueKind == JsonValueKind.Object) WriteObject(text, json);
        else if (json.ValueKind == JsonValueKind.Array) WriteArray(text, json);
        else text.Write(JsonMarshal.GetRawUtf8Value(json));
    }

    private static void WriteObject(ArrayBufferWriter<byte> text, JsonElement json)
    {
        var members = new JsonProperty[json.GetPropertyCount()];
        var count = 0;
        foreach (var member in json.EnumerateObject()) members[count++] = member;
        Array.Sort(members, static (a, b) => JsonMarshal.GetRawUtf8PropertyName(a).SequenceCompareTo(JsonMarshal.GetRawUtf8PropertyName(b)));
        var separator = "{"u8;
        foreach (var member in members)
        {
            text.Write(separator);
            text.Write("\""u8);
            text.Write(JsonMarshal.GetRawUtf8PropertyName(member));
            text.Write("\":"u8);
            Write(text, member.Value);
            separator = ","u8;
        }
        text.Write(members.Length == 0 ? "{}"u8 : "}"u8);
    }

    private static void WriteArray(ArrayBufferWriter<byte> text, JsonElement json)
    {
        text.Write("["u8);
        var isFirst = true;
        foreach (var item in json.EnumerateArray())
        {
            if (!isFirst) text.Write(","u8);
            isFirst = false;
            Write(text, item);
        }
        text.Write("]"u8);
    }
}
