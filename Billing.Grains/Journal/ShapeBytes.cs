using System.Text;

namespace Billing.Grains.Journal;

/// <summary>The bytes of a <see cref="StateShape"/>: whole numbers in as few as they need, each text and each object once.</summary>
internal sealed class ShapeWriter
{
    /// <summary>A text that is none would come back as another.</summary>
    internal static readonly UTF8Encoding Utf8 = new(false, throwOnInvalidBytes: true);

    private readonly Dictionary<string, int> texts = new(StringComparer.Ordinal);
    private readonly Dictionary<object, int> objects = new(ReferenceEqualityComparer.Instance);
    private byte[] buffer = new byte[4_096];
    private int length;

    public ReadOnlySpan<byte> Written => buffer.AsSpan(0, length);

    /// <summary>Any number; those near 0 take one byte.</summary>
    public void Whole(long number) => Bits(unchecked((ulong)(number << 1) ^ (ulong)(number >> 63)));

    /// <param name="count">0 or more.</param>
    public void Count(int count) => Bits((ulong)count);

    public void Text(string? text)
    {
        if (text is null) Count(0);
        else if (texts.TryGetValue(text, out var known)) Count(known + 2);
        else
        {
            texts.Add(text, texts.Count);
            Count(1);
            var size = Utf8.GetByteCount(text);
            Count(size);
            length += Utf8.GetBytes(text, Room(size));
        }
    }

    /// <summary>Writes which object it is. Only when it is a new one its content has to follow.</summary>
    public bool IsNew(object? value)
    {
        if (value is null) Count(0);
        else if (objects.TryGetValue(value, out var known)) Count(known + 2);
        else
        {
            objects.Add(value, objects.Count);
            Count(1);
            return true;
        }
        return false;
    }

    private void Bits(ulong bits)
    {
        var room = Room(10);
        var size = 0;
        for (; bits >= 0x80; bits >>= 7) room[size++] = (byte)((bits & 0x7F) | 0x80);
        room[size++] = (byte)bits;
        length += size;
    }

    private Span<byte> Room(int size)
    {
        if (buffer.Length - length < size) Array.Resize(ref buffer, Math.Max(buffer.Length * 2, length + size));
        return buffer.AsSpan(length);
    }
}

/// <summary>Reads what a <see cref="ShapeWriter"/> wrote.</summary>
/// <param name="length">How many of the bytes are written.</param>
internal sealed class ShapeReader(byte[] bytes, int length)
{
    private const int LongestShared = 64;

    private readonly List<string> texts = [];
    private readonly List<object> objects = [];
    private int at;

    public bool AtEnd => at == length;

    public long Whole()
    {
        var bits = Bits();
        return unchecked((long)(bits >> 1) ^ -(long)(bits & 1));
    }

    public int Count() => (int)Bits();

    /// <summary>Whatever is counted takes a byte or more.</summary>
    public int AtMost(int count) => count <= length - at ? count : throw new InvalidDataException("It counts more than there is.");

    public string? Text()
    {
        var which = Count();
        if (which == 0) return null;
        if (which > 1) return texts[which - 2];
        var size = AtMost(Count());
        var utf8 = bytes.AsSpan(at, size);
        at += size;
        // Features, plans and currencies are those of other organizations too.
        var text = size <= LongestShared && Ascii.IsValid(utf8) ? SharedIds.Of(utf8) : ShapeWriter.Utf8.GetString(utf8);
        texts.Add(text);
        return text;
    }

    /// <summary>Whether it is nothing or an object that was read before. Otherwise its content follows, and it has to be added before that is read.</summary>
    public bool IsKnown(out object? value)
    {
        var which = Count();
        value = which > 1 ? objects[which - 2] : null;
        return which != 1;
    }

    public void Add(object value) => objects.Add(value);

    private ulong Bits()
    {
        var bits = 0UL;
        for (var shift = 0; ; shift += 7)
        {
            if (at >= length || shift > 63) throw new InvalidDataException("It ends within a number.");
            var next = bytes[at++];
            bits |= unchecked((ulong)(next & 0x7F) << shift);
            if (next < 0x80) return bits;
        }
    }
}
