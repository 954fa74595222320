using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Billing.StripeSandbox;

/// <summary>A request as it came in.</summary>
/// <param name="Parameters">Decoded, such as <c>items[0][price]=price_1</c>, in the order in which they were sent.</param>
public sealed record SandboxRequest(string Method, string Path, IReadOnlyList<string> Parameters, string? IdempotencyKey);

/// <summary>A stand-in for Stripe on loopback, for development and tests: its API, its pages, its webhooks, and a clock that can be moved.</summary>
public sealed class SandboxServer : IAsyncDisposable
{
    private readonly WebApplication app;
    private readonly Sandbox sandbox;
    private readonly SandboxClock clock;
    private readonly Webhooks webhooks;
    private readonly Api api;
    private readonly SemaphoreSlim advancing = new(1);
    private readonly CancellationTokenSource stopping = new();
    private Task running = Task.CompletedTask;
    private Task sent = Task.CompletedTask;

    private SandboxServer(SandboxOptions options)
    {
        clock = new SandboxClock(options.Time, options.SetTime);
        sandbox = new Sandbox(options, clock);
        Misbehaviour = new Misbehaviour(options.Seed);
        webhooks = new Webhooks(sandbox, clock, Misbehaviour);
        api = new Api(sandbox, Misbehaviour, Happened);

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(options.Listen, options.Port));
        app = builder.Build();
        api.Map(app);
        Pages.Map(app, sandbox, this);
    }

    /// <summary>Where it listens, such as <c>http://127.0.0.1:12111</c>.</summary>
    public string Url { get; private set; } = "";

    public string ApiKey => sandbox.Options.ApiKey;

    /// <summary>Everything works until something is set here.</summary>
    public Misbehaviour Misbehaviour { get; }

    public DateTimeOffset Now => DateTimeOffset.FromUnixTimeSeconds(sandbox.Now);

    public static async Task<SandboxServer> Start(SandboxOptions? options = null)
    {
        options ??= new SandboxOptions();
        var server = new SandboxServer(options);
        await server.app.StartAsync();
        // Wherever it listens, its pages are opened and its API is called on loopback.
        server.Url = $"http://127.0.0.1:{new Uri(server.app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()).Port}";
        server.sandbox.BaseUrl = server.Url;
        lock (server.sandbox.Gate)
        {
            StateFile.Load(server.sandbox);
            if (options.WebhookUrl is { } url) WebhookEndpoints.New(server.sandbox, url.ToString(), options.WebhookSecret, "*");
        }
        if (options.RunsByItself) server.running = server.Run();
        return server;
    }

    /// <summary>From now on webhooks go to this address, too.</summary>
    public void DeliverTo(Uri url, string secret)
    {
        ArgumentNullException.ThrowIfNull(url);
        lock (sandbox.Gate)
            if (!sandbox.Store.Of("webhook_endpoint").Any(e => e.Text("url") == url.ToString())) WebhookEndpoints.New(sandbox, url.ToString(), secret, "*");
    }

    /// <summary>The Stripe-Signature header of a body, signed at a time in Unix seconds.</summary>
    public static string Sign(string secret, long time, byte[] body) => Webhooks.Signature(secret, time, body);

    /// <summary>Goes on to this time. Everything that falls due by then happens in order, each at its own time, and is told before the next.</summary>
    public async Task AdvanceTo(DateTimeOffset to)
    {
        await advancing.WaitAsync();
        try
        {
            await SendAndSettle();
            while (Next() is { } next && next <= to.ToUnixTimeSeconds())
            {
                clock.MoveTo(DateTimeOffset.FromUnixTimeSeconds(next));
                lock (sandbox.Gate)
                    if (sandbox.NextDue <= next) sandbox.RunNext();
                await SendAndSettle();
            }
            clock.MoveTo(to);
            await SendAndSettle();
        }
        finally
        {
            advancing.Release();
        }
    }

    /// <summary>Sends every webhook that is due by now.</summary>
    public async Task Settle()
    {
        await sent;
        await webhooks.Send();
    }

    /// <summary>Requests to this path (such as <c>/v1/payment_intents</c>) are begun and go no further until what is returned is disposed of.</summary>
    public IDisposable Hold(string path) => api.Hold(path);

    /// <summary>What was asked for lately, in order: of each path the method, the parameters as they were sent, and the key.</summary>
    public IReadOnlyList<SandboxRequest> Requests => api.Requests;

    /// <summary>Any object as the API shows it now.</summary>
    public JsonObject? Find(string id)
    {
        lock (sandbox.Gate) return sandbox.Store.Find(id) is { } o ? Shown(o) : null;
    }

    /// <summary>Every object of a type (such as <c>payment_intent</c>), the oldest first.</summary>
    public IReadOnlyList<JsonObject> All(string type)
    {
        lock (sandbox.Gate) return [.. sandbox.Store.Of(type).Select(Shown)];
    }

    /// <summary>As a caller reads it, with its numbers as JSON has them.</summary>
    private static JsonObject Shown(JsonObject o) => JsonNode.Parse(o.Presented()!.ToJsonString())!.AsObject();

    /// <summary>The cardholder answers the bank: of a payment intent or a setup intent that requires action.</summary>
    public void Authenticate(string intent, bool isGranted = true) => Do(s =>
    {
        var found = s.Store.Find(intent) ?? throw new ArgumentException($"There is no {intent}.", nameof(intent));
        if (found.Text("object") == "setup_intent") SetupIntents.Authenticate(s, found, isGranted);
        else PaymentIntents.Authenticate(s, found, isGranted);
    });

    /// <summary>The cardholder complains about a payment.</summary>
    /// <returns>The dispute's id.</returns>
    public string Dispute(string paymentIntent)
    {
        var id = "";
        Do(s => id = Disputes.Open(s, s.Find("charge", s.Find("payment_intent", paymentIntent).Text("latest_charge"))).Text("id")!);
        return id;
    }

    /// <param name="outcome"><c>won</c> or <c>lost</c>.</param>
    public void CloseDispute(string dispute, string outcome) => Do(s => Disputes.Close(s, s.Find("dispute", dispute), outcome));

    /// <summary>Sends an event to its endpoints once more, as from the dashboard.</summary>
    public void Resend(string e) => Do(s => webhooks.Resend(s.Find("event", e)));

    /// <summary>Until the process is asked to stop.</summary>
    internal Task WaitForShutdown() => app.WaitForShutdownAsync();

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        await running;
        await webhooks.DisposeAsync();
        await app.DisposeAsync();
        lock (sandbox.Gate) StateFile.Save(sandbox);
        advancing.Dispose();
        stopping.Dispose();
    }

    internal void Do(Action<Sandbox> what)
    {
        lock (sandbox.Gate) what(sandbox);
        Happened();
    }

    private void Happened()
    {
        if (sandbox.Options.SendsAtOnce) sent = webhooks.Send();
    }

    private long? Next()
    {
        lock (sandbox.Gate)
            return (sandbox.NextDue, webhooks.NextDue) switch
            {
                ({ } due, { } sending) => Math.Min(due, sending),
                var (due, sending) => due ?? sending,
            };
    }

    private async Task SendAndSettle()
    {
        await webhooks.Send();
        if (sandbox.Options.Settling is { } settling) await settling();
    }

    private async Task Run()
    {
        using var timer = new PeriodicTimer(TimeSpan.FromSeconds(1));
        try
        {
            while (await timer.WaitForNextTickAsync(stopping.Token))
            {
                await AdvanceTo(clock.Running);
                lock (sandbox.Gate) StateFile.Save(sandbox);
            }
        }
        catch (OperationCanceledException)
        {
            // It stops.
        }
    }
}
