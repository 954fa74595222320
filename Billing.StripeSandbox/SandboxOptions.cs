using System.Net;

namespace Billing.StripeSandbox;

/// <summary>How the sandbox is set up. Everything has a default.</summary>
public sealed record SandboxOptions
{
    internal const string Usage = "Options: --port <port> --listen <address> --key <sk_test_…> --webhook <url on this machine> --secret <whsec_…> --file <file that keeps everything>";

    /// <summary>Where a sandbox is that nobody gave a port.</summary>
    public const int UsualPort = 12111;

    /// <summary>The only secret key that it takes.</summary>
    public string ApiKey { get; init; } = "sk_test_sandbox";

    /// <summary>0 for a free port of loopback.</summary>
    public int Port { get; init; }

    /// <summary>Loopback, because anybody who reaches it may pay, move its clock and read everything. Another one is for containers, whose own network is as private.</summary>
    public IPAddress Listen { get; init; } = IPAddress.Loopback;

    /// <summary>Where webhooks go; without it nowhere, until an endpoint is created over the API.</summary>
    public Uri? WebhookUrl { get; init; }

    public string WebhookSecret { get; init; } = "whsec_sandbox";

    /// <summary>What time it is. <see cref="SandboxServer.AdvanceTo"/> runs ahead of it, or moves it by <see cref="SetTime"/>.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Moves <see cref="Time"/>, where it can be moved.</summary>
    public Action<DateTimeOffset>? SetTime { get; init; }

    /// <summary>Awaited after the webhooks of each instant, before the clock goes on: the time that a receiver needs to act on them.</summary>
    public Func<Task>? Settling { get; init; }

    /// <summary>Performs what falls due by itself, as time passes. Without it only <see cref="SandboxServer.AdvanceTo"/> does.</summary>
    public bool RunsByItself { get; init; }

    /// <summary>Sends webhooks as soon as something happens. Without it only <see cref="SandboxServer.Settle"/> and <see cref="SandboxServer.AdvanceTo"/> do.</summary>
    public bool SendsAtOnce { get; init; } = true;

    /// <summary>Makes ids and misbehaviour repeat themselves; without it they differ in every run.</summary>
    public int? Seed { get; init; }

    /// <summary>How long after each failed attempt a renewal's invoice is tried again.</summary>
    public IReadOnlyList<TimeSpan> DunningRetries { get; init; } = [TimeSpan.FromDays(3), TimeSpan.FromDays(5), TimeSpan.FromDays(7)];

    /// <summary>What becomes of the subscription when the last attempt failed: <c>cancel</c>, <c>unpaid</c> or <c>past_due</c>.</summary>
    public string AfterDunning { get; init; } = "cancel";

    /// <summary>Whether the portal's settings were saved. Where they were not, portal sessions are refused until a configuration is made.</summary>
    public bool PortalIsConfigured { get; init; } = true;

    /// <summary>Keeps everything in this file from one start to the next.</summary>
    public string? File { get; init; }

    /// <summary>The options of the command line, for a sandbox that runs by itself.</summary>
    /// <returns>Null when something is not understood.</returns>
    public static SandboxOptions? Read(IReadOnlyList<string> args)
    {
        ArgumentNullException.ThrowIfNull(args);
        var options = new SandboxOptions { RunsByItself = true, Port = UsualPort };
        for (var i = 0; i < args.Count; i += 2)
        {
            if (i + 1 == args.Count) return null;
            var value = args[i + 1];
            switch (args[i])
            {
                case "--port" when ushort.TryParse(value, out var port): options = options with { Port = port }; break;
                case "--listen" when IPAddress.TryParse(value, out var address): options = options with { Listen = address }; break;
                case "--key" when value.StartsWith("sk_test_", StringComparison.Ordinal): options = options with { ApiKey = value }; break;
                case "--webhook" when Uri.TryCreate(value, UriKind.Absolute, out var url) && url.IsLoopback: options = options with { WebhookUrl = url }; break;
                case "--secret": options = options with { WebhookSecret = value }; break;
                case "--file": options = options with { File = value }; break;
                default: return null;
            }
        }
        return options;
    }
}
