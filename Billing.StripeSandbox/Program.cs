namespace Billing.StripeSandbox;

/// <summary>The sandbox as a process of its own: <c>dotnet run --project Billing.StripeSandbox -- --webhook http://localhost:5080/webhooks/stripe</c>.</summary>
internal static class Program
{
    public static async Task<int> Main(string[] args)
    {
        if (SandboxOptions.Read(args) is not { } options)
        {
            await Console.Error.WriteLineAsync(SandboxOptions.Usage);
            return 2;
        }
        await using var server = await SandboxServer.Start(options);
        Console.WriteLine($"The Stripe sandbox listens on {server.Url}. Key: {options.ApiKey}. Webhooks: {(options.WebhookUrl is null ? "none" : $"{options.WebhookUrl}, signed with {options.WebhookSecret}")}.");
        await server.WaitForShutdown();
        return 0;
    }
}
