namespace Billing.StripeSandbox;

/// <summary>The sandbox as a process of its own: <c>dotnet run --project Billing.StripeSandbox -- --port 12111 --webhook http://localhost:5080/webhooks/stripe</c>.</summary>
public static class Program
{
    private const string Usage = "Options: --port <port> --key <sk_test_…> --webhook <url on this machine> --secret <whsec_…> --file <file that keeps everything>";

    public static async Task<int> Main(string[] args)
    {
        ArgumentNullException.ThrowIfNull(args);
        if (Read(args) is not { } options)
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }
        await using var server = await SandboxServer.Start(options);
        Console.WriteLine($"The Stripe sandbox listens on {server.Url}. Key: {options.ApiKey}. Webhooks: {(options.WebhookUrl is null ? "none" : $"{options.WebhookUrl}, signed with {options.WebhookSecret}")}.");
        await server.WaitForShutdown();
        return 0;
    }

    /// <returns>Null when something is not understood.</returns>
    internal static SandboxOptions? Read(string[] args)
    {
        var options = new SandboxOptions { RunsByItself = true, Port = 12111 };
        for (var i = 0; i < args.Length; i += 2)
        {
            if (i + 1 == args.Length) return null;
            var value = args[i + 1];
            switch (args[i])
            {
                case "--port" when ushort.TryParse(value, out var port): options = options with { Port = port }; break;
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
