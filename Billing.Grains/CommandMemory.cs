using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Billing.Ledger;

namespace Billing.Grains;

/// <summary>The last command ids of one organization. Older ones are found in the journal.</summary>
/// <remarks>
/// Kept as numbers and not as objects: many organizations with many ids each would be old objects that point to young
/// ones, and every collection of garbage would look through all of them.
/// </remarks>
public sealed class CommandMemory
{
    /// <summary>How many are remembered for each organization.</summary>
    public const int Capacity = 256;

    internal const int BytesPerCommand = 100;

    private const int FirstSize = 4;

    /// <summary>A command by half of its id's SHA-256, which no two ids have in common.</summary>
    private struct Entry
    {
        public UInt128 Key;
        public long Version;
        public byte ContentLength;
        public Hash Content;
    }

    [InlineArray(HashChain.HashSize)]
    private struct Hash
    {
        private byte first;
    }

    private readonly Dictionary<UInt128, int> places = [];

    // The oldest is at the next place once it is full.
    private Entry[] entries = [];
    private int next;
    private bool hasForgotten;

    public int Count => places.Count;

    /// <summary>Whether it knows every id of the stream, so that what it does not know was never recorded.</summary>
    public bool IsComplete => !hasForgotten;

    public bool TryGet(string commandId, out RecordedCommand command)
    {
        if (places.Count == 0 || !places.TryGetValue(KeyOf(commandId), out var place))
        {
            command = default;
            return false;
        }
        ref readonly var entry = ref entries[place];
        command = new RecordedCommand(entry.Version, ((ReadOnlySpan<byte>)entry.Content)[..entry.ContentLength].ToArray());
        return true;
    }

    public void Add(string commandId, RecordedCommand command)
    {
        if (command.ContentHash.Length > HashChain.HashSize)
        {
            // None of ours; the journal has it.
            hasForgotten = true;
            return;
        }
        var key = KeyOf(commandId);
        if (places.Count == Capacity && !places.ContainsKey(key))
        {
            places.Remove(entries[next].Key);
            hasForgotten = true;
        }
        if (!places.TryAdd(key, next)) return;
        if (next == entries.Length) Array.Resize(ref entries, Math.Clamp(2 * next, FirstSize, Capacity));
        ref var entry = ref entries[next];
        (entry.Key, entry.Version, entry.ContentLength) = (key, command.Version, (byte)command.ContentHash.Length);
        command.ContentHash.CopyTo((Span<byte>)entry.Content);
        next = (next + 1) % Capacity;
    }

    /// <param name="isComplete">Whether all of the stream's ids are added from here on; false when it is read from somewhere in its middle.</param>
    public void Clear(bool isComplete = true)
    {
        places.Clear();
        next = 0;
        hasForgotten = !isComplete;
    }

    private static UInt128 KeyOf(string commandId)
    {
        Span<byte> text = stackalloc byte[3 * Ids.MaxCommandIdLength];
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        var bytes = commandId.Length <= Ids.MaxCommandIdLength ? text[..Encoding.UTF8.GetBytes(commandId, text)] : Encoding.UTF8.GetBytes(commandId);
        SHA256.HashData(bytes, hash);
        return MemoryMarshal.Read<UInt128>(hash);
    }
}
