using System.Runtime.CompilerServices;

namespace Billing.Grains.Journal;

/// <summary>An organization's events from the first on, wherever they are kept, with the head that they must end at.</summary>
/// <param name="Events">In order. Throws a <see cref="DamagedEventException"/> where something is kept that nobody can have written.</param>
/// <param name="Head">Asked for when the events have been read, because an export has it behind them. Throws as <paramref name="Events"/> does.</param>
public sealed record LedgerStream(string Organization, IAsyncEnumerable<StoredEvent> Events, Func<StreamHead> Head)
{
    private const int PageSize = 1_000;

    /// <summary>The stream as it stands in the journal now; without a head and empty where there is none.</summary>
    public static async ValueTask<LedgerStream> Of(IJournal journal, string organization, CancellationToken stop = default)
    {
        try
        {
            // Read first: events that are appended meanwhile do not look like a cut-off tail then.
            var head = await journal.ReadHead(organization) ?? StreamHead.None;
            return new LedgerStream(organization, Read(journal, organization, head.Version, stop), () => head);
        }
        catch (DamagedEventException damaged)
        {
            return new LedgerStream(organization, Read(journal, organization, long.MaxValue - PageSize, stop), () => throw damaged);
        }
    }

    /// <summary>The same events, with bodies from an archive where theirs are archived. The hashes say whether they are the right ones.</summary>
    /// <exception cref="DamagedEventException">The archive is another organization's.</exception>
    public LedgerStream WithBodies(LedgerStream archive)
    {
        if (archive.Organization != Organization) throw new DamagedEventException(null, $"The archive is of '{archive.Organization}', and this is '{Organization}'.");
        var events = Events;
        return this with { Events = Merged() };

        async IAsyncEnumerable<StoredEvent> Merged()
        {
            await using var archived = archive.Events.GetAsyncEnumerator();
            var version = 0L;
            await foreach (var e in events)
            {
                while (e.IsArchived && version < e.Version) version = await archived.MoveNextAsync() ? archived.Current.Version : long.MaxValue;
                yield return e.IsArchived && version == e.Version ? e with { Body = archived.Current.Body, IsArchived = false } : e;
            }
        }
    }

    /// <summary>Whether the journal has anything of this organization, be it a head without events or events without a head.</summary>
    public static async ValueTask<bool> Exists(IJournal journal, string organization)
    {
        try
        {
            return await journal.ReadHead(organization) is not null || (await journal.ReadStream(organization, 1, 1)).Count > 0;
        }
        catch (DamagedEventException)
        {
            return true;
        }
    }

    /// <summary>While one page is looked at, the next is read.</summary>
    private static async IAsyncEnumerable<StoredEvent> Read(IJournal journal, string organization, long last, [EnumeratorCancellation] CancellationToken stop)
    {
        var size = PageSize;
        var (from, reading) = (1L, ReadPage(1));
        try
        {
            while (from <= last)
            {
                stop.ThrowIfCancellationRequested();
                IReadOnlyList<StoredEvent> page;
                try
                {
                    page = await reading;
                }
                catch (DamagedEventException) when (size > 1)
                {
                    // What stands before it on the page is read one by one, so that the first bad event is found first.
                    size = 1;
                    reading = ReadPage(from);
                    continue;
                }
                if (page.Count == 0) yield break;
                // A version that is not the next one is the reader's to complain about; reading goes on behind it at any rate.
                from = Math.Max(from + page.Count, Math.Min(page[^1].Version, last) + 1);
                if (from <= last) reading = ReadPage(from);
                foreach (var e in page) yield return e;
            }
        }
        finally
        {
            // Whoever stops early leaves nothing behind that still reads.
            await Task.WhenAny(reading);
        }

        Task<IReadOnlyList<StoredEvent>> ReadPage(long version)
        {
            var limit = (int)Math.Min(size, last - version + 1);
            return limit < 1 ? Task.FromResult<IReadOnlyList<StoredEvent>>([]) : Task.Run(() => journal.ReadStream(organization, version, limit).AsTask(), CancellationToken.None);
        }
    }
}

/// <summary>Something is kept that no build can have written: a time beyond the calendar, a text that is no text, a line that is none of an export's.</summary>
/// <param name="version">The event that it is about; null where that itself cannot be read.</param>
[GenerateSerializer, Alias("DamagedEventException")]
public class DamagedEventException(long? version, string problem) : Exception(problem)
{
    [Id(0)] public long? Version { get; } = version;
}

/// <summary>The event is there and its body is not: it was archived. Nothing is wrong, but what needs the body cannot be had from the journal alone.</summary>
[GenerateSerializer, Alias("ArchivedEventException")]
public sealed class ArchivedEventException(StoredEvent stored) : DamagedEventException(stored.Version,
    $"The body of version {stored.Version} of '{stored.Organization}' is archived. Verify with --archive and the archive's file, or put the bodies back with: billing ledger restore");
