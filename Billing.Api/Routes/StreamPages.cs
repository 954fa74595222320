using Billing.Grains.Journal;
using Billing.Ledger;

namespace Billing.Api.Routes;

/// <summary>Reading an organization's stream for lists. The cursor is the version after which the next page begins.</summary>
internal static class StreamPages
{
    private const int ReadSize = 1_000;

    /// <summary>The most events that one request looks at; a page may be short then, with a cursor to go on.</summary>
    public const int MaxScanned = 20_000;

    /// <summary>What <paramref name="view"/> makes of the events of these types, oldest first.</summary>
    public static Task<Page<T>> Read<T>(IJournal journal, string organization, HttpContext http, string[] types, Func<LedgerEvent, IReadOnlyList<T>> view) =>
        Read(journal, organization, http, stored => Array.IndexOf(types, stored.Type) < 0 ? [] : view(EventCodec.Default.Decode(stored)));

    public static async Task<Page<T>> Read<T>(IJournal journal, string organization, HttpContext http, Func<StoredEvent, IReadOnlyList<T>> view, long after = 0)
    {
        var limit = http.LimitParameter();
        var items = new List<T>();
        // No stream is that long; the version after it must still be a number.
        var last = Math.Min(Math.Max(after, http.CursorParameter()), long.MaxValue - 1);
        for (var scanned = 0; ;)
        {
            var page = await journal.ReadStream(organization, last + 1, ReadSize);
            foreach (var stored in page)
            {
                var views = view(stored);
                // An event's items stay together on one page.
                if (items.Count > 0 && items.Count + views.Count > limit) return new Page<T>(items, Cursor.Of(last.ToString()));
                items.AddRange(views);
                last = stored.Version;
            }
            scanned += page.Count;
            if (page.Count < ReadSize) return new Page<T>(items, null);
            if (scanned >= MaxScanned) return new Page<T>(items, Cursor.Of(last.ToString()));
        }
    }

    /// <summary>What <paramref name="view"/> makes of the events of these types, newest first.</summary>
    /// <param name="head">The version of the stream's last event.</param>
    public static async Task<Page<T>> ReadBack<T>(IJournal journal, string organization, HttpContext http, string[] types, long head, Func<LedgerEvent, T> view)
    {
        var limit = http.LimitParameter();
        var items = new List<T>();
        // The cursor is the version before which the next page begins.
        var before = http.CursorParameter() is > 0 and var cursor ? Math.Min(cursor, head + 1) : head + 1;
        for (var scanned = 0; before > 1 && scanned < MaxScanned; scanned += ReadSize)
        {
            var from = Math.Max(1, before - ReadSize);
            var page = await journal.ReadStream(organization, from, (int)(before - from));
            foreach (var stored in page.Reverse())
            {
                if (Array.IndexOf(types, stored.Type) < 0) continue;
                if (items.Count == limit) return new Page<T>(items, Cursor.Of(before.ToString()));
                items.Add(view(EventCodec.Default.Decode(stored)));
                before = stored.Version;
            }
            before = from;
        }
        return new Page<T>(items, before > 1 ? Cursor.Of(before.ToString()) : null);
    }

    public static async IAsyncEnumerable<LedgerEvent> All(IJournal journal, string organization, string[] types, long after = 0)
    {
        for (var last = after; ;)
        {
            var page = await journal.ReadStream(organization, last + 1, ReadSize);
            foreach (var stored in page)
            {
                last = stored.Version;
                if (Array.IndexOf(types, stored.Type) >= 0) yield return EventCodec.Default.Decode(stored);
            }
            if (page.Count < ReadSize) yield break;
        }
    }
}
