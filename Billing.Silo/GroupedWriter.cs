using System.Data.Common;
using Billing.Silo.Storage;

namespace Billing.Silo;

/// <summary>Small writes of many callers, many to a transaction: who comes while one is under way goes along with the next. So a flood costs few flushes of the disk.</summary>
public sealed class GroupedWriter(Database database)
{
    /// <summary>More would keep the journal, which may share the writer, waiting for too long.</summary>
    private const int MaxTogether = 100;

    private readonly Queue<Waiting> queue = [];
    private bool isWriting;

    private sealed record Waiting(Func<DbConnection, int> Write, TaskCompletionSource<int> Done);

    /// <summary>Durable when it returns. When the transaction fails, it fails for all who are in it.</summary>
    public Task<int> Write(Func<DbConnection, int> write)
    {
        var mine = new Waiting(write, new TaskCompletionSource<int>(TaskCreationOptions.RunContinuationsAsynchronously));
        lock (queue)
        {
            queue.Enqueue(mine);
            if (isWriting) return mine.Done.Task;
            isWriting = true;
        }
        _ = Task.Run(WriteAll);
        return mine.Done.Task;
    }

    private async Task WriteAll()
    {
        while (Take() is { Count: > 0 } group)
        {
            try
            {
                var results = await database.Write(c => group.ConvertAll(w => w.Write(c)));
                for (var i = 0; i < group.Count; i++) group[i].Done.SetResult(results[i]);
            }
            catch (Exception e)
            {
                foreach (var waiting in group) waiting.Done.SetException(e);
            }
        }
    }

    private List<Waiting> Take()
    {
        var group = new List<Waiting>();
        lock (queue)
        {
            while (group.Count < MaxTogether && queue.TryDequeue(out var next)) group.Add(next);
            if (group.Count == 0) isWriting = false;
        }
        return group;
    }
}
