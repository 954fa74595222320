using Billing.Ledger;

namespace Billing.Grains;

/// <summary>The last command ids of one organization. Older ones are found in the journal.</summary>
public sealed class CommandMemory
{
    /// <summary>How many are remembered for each organization.</summary>
    public const int Capacity = 256;

    internal const int BytesPerCommand = 220;

    private readonly Dictionary<string, RecordedCommand> recorded = [];
    private readonly Queue<string> inOrder = new();
    private bool hasForgotten;

    public int Count => recorded.Count;

    /// <summary>Whether it knows every id of the stream, so that what it does not know was never recorded.</summary>
    public bool IsComplete => !hasForgotten;

    public bool TryGet(string commandId, out RecordedCommand command) => recorded.TryGetValue(commandId, out command);

    public void Add(string commandId, RecordedCommand command)
    {
        if (!recorded.TryAdd(commandId, command)) return;
        inOrder.Enqueue(commandId);
        if (inOrder.Count <= Capacity) return;
        recorded.Remove(inOrder.Dequeue());
        hasForgotten = true;
    }

    /// <param name="isComplete">Whether all of the stream's ids are added from here on; false when it is read from somewhere in its middle.</param>
    public void Clear(bool isComplete = true)
    {
        recorded.Clear();
        inOrder.Clear();
        hasForgotten = !isComplete;
    }
}
