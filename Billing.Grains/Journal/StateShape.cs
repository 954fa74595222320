using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using NodaTime;

namespace Billing.Grains.Journal;

/// <summary>
/// How values of one type are written and read: by their fields, those that a record keeps to itself too, in the order of
/// their names. Made once from the types themselves, so that a new member of the state is in every snapshot from then on.
/// What is read is what was written: the same values, the same decimals' scales, and one object where there was one.
/// </summary>
internal abstract class StateShape
{
    private static readonly HashSet<Type> Whole = [typeof(bool), typeof(byte), typeof(short), typeof(int), typeof(long)];

    /// <param name="type">A sealed record whose members are values, texts, arrays, and sealed records of its own assembly.</param>
    /// <exception cref="NotSupportedException">There is a member of a type that cannot be kept: it names both.</exception>
    public static StateShape Of(Type type) => Of(type, [], type.Assembly, type.Name);

    private static StateShape Of(Type type, Dictionary<Type, StateShape> known, Assembly ours, string place)
    {
        if (known.TryGetValue(type, out var made)) return made;
        if (Whole.Contains(type) || type.IsEnum) return known[type] = new WholeShape(type);
        if (type == typeof(decimal)) return known[type] = new DecimalShape();
        if (type == typeof(string)) return known[type] = new StringShape();
        if (type == typeof(DateTimeZone)) return known[type] = new ZoneShape();
        if (type == typeof(IReadOnlyDictionary<string, string>)) return known[type] = new DictionaryShape();
        if (Nullable.GetUnderlyingType(type) is { } underlying) return known[type] = new NullableShape(Of(underlying, known, ours, place));
        if (type.IsSZArray) return known[type] = new ArrayShape(type.GetElementType()!, Of(type.GetElementType()!, known, ours, $"{place}[]"));
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(ImmutableArray<>))
        {
            var element = Of(type.GenericTypeArguments[0], known, ours, $"{place}[]");
            return known[type] = (StateShape)Activator.CreateInstance(typeof(ImmutableArrayShape<>).MakeGenericType(type.GenericTypeArguments), element)!;
        }
        // Nothing is hidden in a base, nothing else is behind the member than its type says, and nothing is walked into that others may change.
        var isOurs = type.Assembly == ours && type.IsSealed && (type.IsValueType || type.BaseType == typeof(object));
        if (!isOurs && (type.Assembly != typeof(Instant).Assembly || type.IsClass))
            throw new NotSupportedException($"A snapshot cannot hold {place}, which is of type {type}.");
        // Known before its fields are, which may be of its own type.
        var record = new RecordShape(type);
        known[type] = record;
        record.Fields = [.. type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).OrderBy(f => f.Name, StringComparer.Ordinal)
            .Select(f => (f, Of(f.FieldType, known, ours, $"{place}.{f.Name}")))];
        return record;
    }

    /// <summary>All of it as text, the same for the same types and members alone.</summary>
    public string Describe()
    {
        var (text, described) = (new StringBuilder(), new HashSet<StateShape>());
        Describe(text, described);
        return text.ToString();
    }

    protected void Describe(StringBuilder to, HashSet<StateShape> described)
    {
        if (described.Add(this)) DescribeParts(to, described);
    }

    protected abstract void DescribeParts(StringBuilder to, HashSet<StateShape> described);

    /// <param name="value">Null for reference types and nullable ones alone.</param>
    public abstract void Write(ShapeWriter to, object? value);

    public abstract object? ReadOrNull(ShapeReader from);

    public object Read(ShapeReader from) => ReadOrNull(from) ?? throw new InvalidDataException("There is nothing where a value must be.");

    // ---- values

    private sealed class WholeShape(Type type) : StateShape
    {
        private readonly TypeCode code = Type.GetTypeCode(type);

        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described)
        {
            to.Append(type.FullName);
            if (type.IsEnum) to.Append(" = ").AppendJoin(", ", Enum.GetNames(type).Select(name => $"{name} {Convert.ToInt64(Enum.Parse(type, name))}"));
            to.Append('\n');
        }

        public override void Write(ShapeWriter to, object? value) => to.Whole(value is long number ? number : Convert.ToInt64(value));

        public override object? ReadOrNull(ShapeReader from)
        {
            var number = from.Whole();
            if (type.IsEnum) return Enum.ToObject(type, number);
            return code switch
            {
                TypeCode.Int64 => number,
                TypeCode.Int32 => (int)number,
                TypeCode.Boolean => number != 0,
                _ => Convert.ChangeType(number, code),
            };
        }
    }

    private sealed class DecimalShape : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described) => to.Append("decimal\n");

        public override void Write(ShapeWriter to, object? value)
        {
            Span<int> parts = stackalloc int[4];
            decimal.GetBits((decimal)value!, parts);
            foreach (var part in parts) to.Whole(part);
        }

        public override object? ReadOrNull(ShapeReader from) => new decimal([(int)from.Whole(), (int)from.Whole(), (int)from.Whole(), (int)from.Whole()]);
    }

    private sealed class NullableShape(StateShape inner) : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described)
        {
            to.Append("nullable\n");
            inner.Describe(to, described);
        }

        public override void Write(ShapeWriter to, object? value)
        {
            to.Count(value is null ? 0 : 1);
            if (value is not null) inner.Write(to, value);
        }

        public override object? ReadOrNull(ShapeReader from) => from.Count() == 0 ? null : inner.Read(from);
    }

    private sealed class StringShape : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described) => to.Append("string\n");

        public override void Write(ShapeWriter to, object? value) => to.Text((string?)value);

        public override object? ReadOrNull(ShapeReader from) => from.Text();
    }

    /// <summary>By its id. Only such zones can be written as reading their id gives back.</summary>
    private sealed class ZoneShape : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described) => to.Append("zone\n");

        public override void Write(ShapeWriter to, object? value)
        {
            var zone = (DateTimeZone)value!;
            // There is a zone "UTC" in the table too, and it is another one.
            var id = ReferenceEquals(zone, DateTimeZone.Utc) ? "" : zone.Id;
            if (!ReferenceEquals(Zone(id), zone)) throw new NotSupportedException($"The time zone '{zone.Id}' is none of the table's.");
            to.Text(id);
        }

        public override object? ReadOrNull(ShapeReader from) => Zone(from.Text());

        private static DateTimeZone? Zone(string? id) => id is "" ? DateTimeZone.Utc : id is null ? null : DateTimeZoneProviders.Tzdb.GetZoneOrNull(id);
    }

    // ---- several

    private sealed class ImmutableArrayShape<T>(StateShape element) : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described)
        {
            to.Append("immutable array of ").Append(typeof(T).FullName).Append('\n');
            element.Describe(to, described);
        }

        public override void Write(ShapeWriter to, object? value)
        {
            var array = (ImmutableArray<T>)value!;
            to.Count(array.IsDefault ? 0 : array.Length + 1);
            if (array.IsDefault) return;
            foreach (var item in array) element.Write(to, item);
        }

        public override object? ReadOrNull(ShapeReader from)
        {
            var count = from.Count() - 1;
            if (count <= 0) return count == 0 ? ImmutableArray<T>.Empty : default(ImmutableArray<T>);
            var array = new T[from.AtMost(count)];
            for (var i = 0; i < array.Length; i++) array[i] = (T)element.ReadOrNull(from)!;
            return ImmutableCollectionsMarshal.AsImmutableArray(array);
        }
    }

    private sealed class ArrayShape(Type type, StateShape element) : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described)
        {
            to.Append("array of ").Append(type.FullName).Append('\n');
            element.Describe(to, described);
        }

        public override void Write(ShapeWriter to, object? value)
        {
            if (!to.IsNew(value)) return;
            var array = (Array)value!;
            to.Count(array.Length);
            foreach (var item in array) element.Write(to, item);
        }

        public override object? ReadOrNull(ShapeReader from)
        {
            if (from.IsKnown(out var known)) return known;
            var array = Array.CreateInstance(type, from.AtMost(from.Count()));
            from.Add(array);
            for (var i = 0; i < array.Length; i++) array.SetValue(element.ReadOrNull(from), i);
            return array;
        }
    }

    private sealed class DictionaryShape : StateShape
    {
        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described) => to.Append("texts by text\n");

        public override void Write(ShapeWriter to, object? value)
        {
            if (!to.IsNew(value)) return;
            var dictionary = (IReadOnlyDictionary<string, string>)value!;
            to.Count(dictionary.Count);
            foreach (var (name, text) in dictionary)
            {
                to.Text(name);
                to.Text(text);
            }
        }

        public override object? ReadOrNull(ShapeReader from)
        {
            if (from.IsKnown(out var known)) return known;
            var count = from.AtMost(from.Count());
            // As the event codec makes them.
            var dictionary = new Dictionary<string, string>();
            from.Add(dictionary);
            for (var i = 0; i < count; i++) dictionary.Add(from.Text()!, from.Text()!);
            return dictionary;
        }
    }

    private sealed class RecordShape(Type type) : StateShape
    {
        public (FieldInfo Field, StateShape Shape)[] Fields { get; set; } = [];

        protected override void DescribeParts(StringBuilder to, HashSet<StateShape> described)
        {
            to.Append(type.FullName).Append('\n');
            foreach (var (field, _) in Fields) to.Append(' ').Append(field.Name).Append(' ').Append(field.FieldType.FullName).Append('\n');
            foreach (var (_, shape) in Fields) shape.Describe(to, described);
        }

        public override void Write(ShapeWriter to, object? value)
        {
            if (type.IsClass && !to.IsNew(value)) return;
            foreach (var (field, shape) in Fields) shape.Write(to, field.GetValue(value));
        }

        public override object? ReadOrNull(ShapeReader from)
        {
            if (type.IsClass && from.IsKnown(out var known)) return known;
            var value = RuntimeHelpers.GetUninitializedObject(type);
            if (type.IsClass) from.Add(value);
            foreach (var (field, shape) in Fields) field.SetValue(value, shape.ReadOrNull(from));
            return value;
        }
    }
}
