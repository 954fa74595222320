using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Security.Cryptography;
using Billing.Silo;
using NodaTime;

namespace Billing.Api;

/// <summary>The keys of all issuers. Those of files and addresses are read again now and then; while they cannot be read, they stay as they were.</summary>
public sealed class JwtKeyRing : IDisposable
{
    /// <summary>How often keys are read again.</summary>
    public static readonly TimeSpan Every = TimeSpan.FromMinutes(5);

    /// <summary>Tokens that name a key which is not there have them read at once, but no sooner after the last time than this, however many there are.</summary>
    public static readonly Duration LeastBetween = Duration.FromSeconds(30);

    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);
    private const int MaxBytes = 256 * 1024;

    /// <summary>A file or an address, whose tokens it is for, and what was in it when it was last read.</summary>
    private sealed class Source(string place, IReadOnlyList<JwtIssuer> issuers)
    {
        public readonly string Place = place;
        public readonly IReadOnlyList<JwtIssuer> Issuers = issuers;
        public byte[]? Content;
        public IReadOnlyList<JwtKey> Keys = [];
        public Instant TriedAt = Instant.MinValue;
    }

    /// <summary>A key with those whose tokens it signs.</summary>
    internal sealed record Candidate(JwtKey Key, IReadOnlyList<JwtIssuer> Issuers);

    private readonly Clock clock;
    private readonly IReadOnlyList<(JwtKey Key, JwtIssuer Issuer)> secrets;
    private readonly IReadOnlyList<Source> sources;
    private readonly SemaphoreSlim oneAtATime = new(1);
    private readonly HttpClient http = new(new SocketsHttpHandler { AllowAutoRedirect = false, ConnectTimeout = Timeout, PooledConnectionLifetime = Every }) { Timeout = Timeout, MaxResponseContentBufferSize = MaxBytes };
    private volatile Keys keys;
    private int asked;

    /// <exception cref="SettingsException">A file has no key that can be used.</exception>
    public JwtKeyRing(IReadOnlyList<JwtIssuer> issuers, Clock clock)
    {
        this.clock = clock;
        secrets = [.. issuers.Where(i => i.Secret is not null).Select(i => (new SecretKey(i.Secret!, i.KeyId), i))];
        sources = [.. issuers.Where(i => i.Jwks is not null).GroupBy(i => i.Jwks!, StringComparer.Ordinal).Select(g => new Source(g.Key, [.. g]))];
        foreach (var file in sources.Where(s => !IsAddress(s)))
        {
            try
            {
                Take(file, File.ReadAllBytes(file.Place), out var leftOut);
                if (file.Keys.Count == 0) throw new SettingsException($"The JWKS '{file.Place}' has no key for RS256 or ES256.{string.Concat(leftOut.Select(r => $"\n  {r}"))}");
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
            {
                throw new SettingsException($"The JWKS '{file.Place}' cannot be read: {e.Message}");
            }
        }
        keys = Build();
    }

    /// <summary>Told what went wrong, or what was left out.</summary>
    public Action<string, Exception?>? Log { get; set; }

    /// <summary>Whether there is anything to be read again.</summary>
    public bool HasSources => sources.Count > 0;

    internal Keys Current => keys;

    /// <summary>Reads every file and address.</summary>
    public async Task Refresh(CancellationToken cancel = default)
    {
        foreach (var source in sources) await Refresh(source, cancel);
    }

    /// <summary>A token names a key that is not there: it may be newer than what was read.</summary>
    internal void AskForNewer()
    {
        var now = clock.Now();
        if (!sources.Any(s => IsDue(s, now)) || Interlocked.Exchange(ref asked, 1) == 1) return;
        // Nobody waits for it: this token is refused, and the next one finds what was read.
        _ = Task.Run(async () =>
        {
            try
            {
                foreach (var source in sources.Where(s => IsDue(s, now))) await Refresh(source, default);
            }
            finally
            {
                Volatile.Write(ref asked, 0);
            }
        });
    }

    public void Dispose()
    {
        http.Dispose();
        oneAtATime.Dispose();
    }

    private static bool IsDue(Source source, Instant now) => now - source.TriedAt >= LeastBetween;

    private static bool IsAddress(Source source) => source.Place.Contains("://", StringComparison.Ordinal);

    private async Task Refresh(Source source, CancellationToken cancel)
    {
        await oneAtATime.WaitAsync(cancel);
        try
        {
            source.TriedAt = clock.Now();
            var content = IsAddress(source) ? await http.GetByteArrayAsync(source.Place, cancel) : await File.ReadAllBytesAsync(source.Place, cancel);
            if (source.Content is { } before && before.AsSpan().SequenceEqual(content)) return;
            Take(source, content, out var leftOut);
            keys = Build();
            if (leftOut.Count > 0) Log?.Invoke($"Of the keys at {source.Place} these are not used: {string.Join("; ", leftOut)}.", null);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or UnauthorizedAccessException or InvalidDataException || (e is OperationCanceledException && !cancel.IsCancellationRequested))
        {
            Log?.Invoke($"The keys at {source.Place} could not be read; they stay as they were.", e);
        }
        finally
        {
            oneAtATime.Release();
        }
    }

    private static void Take(Source source, byte[] content, out IReadOnlyList<string> leftOut)
    {
        source.Keys = Jwks.Read(content, out leftOut);
        source.Content = content;
    }

    private Keys Build()
    {
        var ofSources = sources.SelectMany(s => s.Issuers, (s, issuer) => (Issuer: issuer, Keys: s.Keys.Where(k => issuer.Algorithm is null || issuer.Algorithm == k.Algorithm).ToList())).ToList();
        return new Keys(
            Together([.. secrets, .. ofSources.SelectMany(o => o.Keys, (o, key) => (key, o.Issuer))]),
            // A token says which of several keys it means. Of one secret or one key it need not.
            Together([.. secrets.Where(s => s.Key.Id is null), .. ofSources.Where(o => o.Keys.Count == 1).Select(o => (o.Keys[0], o.Issuer))]));
    }

    /// <summary>One key may be for several issuers, from several places: it is still one, which is tried once.</summary>
    private static Candidate[] Together(IEnumerable<(JwtKey Key, JwtIssuer Issuer)> keys) =>
        [.. keys.GroupBy(k => (k.Key.Algorithm, k.Key.Id, k.Key.Print)).Select(g => new Candidate(g.First().Key, [.. g.Select(k => k.Issuer)]))];

    /// <summary>The keys as they are until some source has others, and the tokens that they were found to have signed: these are forgotten with the keys.</summary>
    internal sealed class Keys
    {
        /// <summary>What is kept of a token: about 200 bytes each.</summary>
        private const int MaxKnown = 10_000;

        private readonly IReadOnlyList<Candidate> all;
        private readonly FrozenDictionary<string, Candidate[]> byId;
        private readonly Candidate[] withoutId;
        private readonly Candidate[] unnamed;
        private readonly ConcurrentDictionary<Hash, (Caller Caller, long ExpiresAt)> known = new();
        private int count;

        /// <param name="unnamed">Those that a token may mean without saying so.</param>
        public Keys(IReadOnlyList<Candidate> all, Candidate[] unnamed)
        {
            this.all = all;
            this.unnamed = unnamed;
            byId = all.Where(c => c.Key.Id is not null).GroupBy(c => c.Key.Id!).ToFrozenDictionary(g => g.Key, g => g.ToArray(), StringComparer.Ordinal);
            // Who configured a secret without an id does not mind which id the issuer gives it.
            withoutId = [.. unnamed.Where(c => c.Key is SecretKey)];
        }

        /// <summary>The keys that a token may be signed with, by what its header says.</summary>
        public IEnumerable<Candidate> Of(string algorithm, string? id) =>
            (id is null ? unnamed : [.. byId.GetValueOrDefault(id, []), .. withoutId]).Where(c => c.Key.Algorithm == algorithm);

        /// <summary>A key whose check takes as long as the right one's would, for tokens that name none of ours.</summary>
        public JwtKey? StandIn(string? algorithm) => (all.FirstOrDefault(c => c.Key.Algorithm == algorithm) ?? (all.Count > 0 ? all[0] : null))?.Key;

        public Caller? Find(in Hash token, long now) => known.TryGetValue(token, out var found) && now < found.ExpiresAt ? found.Caller : null;

        /// <summary>Only tokens that are good get in, so strangers fill nothing.</summary>
        public void Remember(in Hash token, Caller caller, long expiresAt)
        {
            if (Interlocked.Increment(ref count) > MaxKnown)
            {
                known.Clear();
                Volatile.Write(ref count, 1);
            }
            known[token] = (caller, expiresAt);
        }
    }

    /// <summary>A SHA-256.</summary>
    internal readonly record struct Hash(UInt128 A, UInt128 B)
    {
        public static Hash Of(ReadOnlySpan<byte> token)
        {
            Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
            SHA256.HashData(token, hash);
            return System.Runtime.InteropServices.MemoryMarshal.Read<Hash>(hash);
        }
    }
}

/// <summary>Reads the keys again, now and then, and the first time before the service listens.</summary>
public sealed class JwtKeyPoll(JwtKeyRing ring, TimeProvider time) : BackgroundService
{
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await ring.Refresh(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(JwtKeyRing.Every, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken)) await ring.Refresh(stoppingToken);
        }
        catch (OperationCanceledException)
        {
            // The service stops.
        }
    }
}
