using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;

namespace Billing.Silo;

/// <summary>
/// <c>--health</c>: a program asks another start of itself, with the same settings, whether it is ready. Images without a shell have nothing else to ask with.
/// </summary>
public static class HealthCheck
{
    public const string Option = "--health";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(8);

    /// <summary>What <c>/health/ready</c> says goes to the output, so that it can be found where a container's health is recorded.</summary>
    /// <param name="args">The program's, the option among them.</param>
    /// <param name="defaultUrl">Where the program listens when nobody says.</param>
    /// <returns>The exit code: 0 when it is ready, 1 when it is not or does not answer.</returns>
    public static async Task<int> Run(string[] args, string defaultUrl)
    {
        var configuration = new ConfigurationBuilder().AddEnvironmentVariables("DOTNET_").AddEnvironmentVariables("ASPNETCORE_")
            .AddJsonFile(Path.Combine(AppContext.BaseDirectory, "appsettings.json"), optional: true).AddEnvironmentVariables()
            .AddCommandLine([.. args.Where(a => a != Option)]).Build();
        var address = AddressOf(Urls(configuration), defaultUrl);
        using var http = new HttpClient { Timeout = Patience };
        try
        {
            using var answer = await http.GetAsync(new Uri(address, "health/ready"));
            await Console.Out.WriteLineAsync(await answer.Content.ReadAsStringAsync());
            return answer.IsSuccessStatusCode ? 0 : 1;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            await Console.Error.WriteLineAsync($"{address} does not answer: {e.Message}");
            return 1;
        }
    }

    /// <summary>Every way to say where to listen. Ports by themselves are open to the world, and container images set them.</summary>
    public static IReadOnlyList<string> Urls(IConfiguration configuration)
    {
        var urls = Several("urls");
        string[] ports = urls.Length > 0 ? [] : [.. Several("http_ports").Select(port => $"http://*:{port}"), .. Several("https_ports").Select(port => $"https://*:{port}")];
        return [.. urls, .. ports, .. configuration.GetSection("Kestrel:Endpoints").GetChildren().Select(e => e["Url"]).OfType<string>()];

        string[] Several(string name) => (configuration[name] ?? "").Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Where it can be asked from the same machine; without TLS if that can be, because a certificate is not for loopback.</summary>
    public static Uri AddressOf(IReadOnlyList<string> urls, string defaultUrl)
    {
        string[] choices = urls.Count == 0 ? [defaultUrl] : [.. urls.Where(u => u.StartsWith("http:", StringComparison.OrdinalIgnoreCase)), .. urls];
        var address = BindingAddress.Parse(choices[0]);
        var host = address.Host is "*" or "+" or "0.0.0.0" or "[::]" ? "127.0.0.1" : address.Host;
        return new Uri($"{address.Scheme}://{host}:{address.Port}/");
    }
}
