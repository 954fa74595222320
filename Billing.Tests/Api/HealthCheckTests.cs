using System.Diagnostics;
using Billing.Api;
using Billing.Silo;
using Microsoft.Extensions.Configuration;

namespace Billing.Tests.Api;

/// <summary>What containers ask with: <c>dotnet Billing.Api.dll --health</c>.</summary>
public sealed class HealthCheckTests
{
    [Fact]
    public async Task a_service_asks_another_start_of_itself_whether_it_is_ready()
    {
        var folder = Directory.CreateTempSubdirectory("billing-health-");
        File.Copy(Repository.Catalog("learning-community"), Path.Combine(folder.FullName, "catalog.json"));
        using var service = await ServiceProcess.Start(folder.FullName, "--Billing:StripeSandbox=off");
        var port = service.Http.BaseAddress!.Port;

        // Told in the same ways as the service itself: by the command line, or by what container images set.
        var (code, said) = await Ask([$"--urls=http://127.0.0.1:{port}"], []);
        Assert.True(code == 0, said);
        Assert.Contains("\"status\":\"ready\"", said, StringComparison.Ordinal);
        (code, said) = await Ask([], [("ASPNETCORE_HTTP_PORTS", $"{port}")]);
        Assert.True(code == 0, said);

        service.Kill();
        (code, said) = await Ask([$"--urls=http://127.0.0.1:{port}"], []);
        Assert.Equal(1, code);
        Assert.Contains("does not answer", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://*:8080", "http://127.0.0.1:8080/")]
    [InlineData("http://+:80;https://+:443", "http://127.0.0.1/")]
    [InlineData("https://0.0.0.0:8443;http://[::]:8080", "http://127.0.0.1:8080/")]
    [InlineData("http://localhost:5081", "http://localhost:5081/")]
    [InlineData("https://ledger.example:8443", "https://ledger.example:8443/")]
    [InlineData("", "http://localhost:5080/")]
    public void it_asks_where_it_is_heard_on_the_same_machine(string urls, string address)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([new("urls", urls)]).Build();

        Assert.Equal(address, HealthCheck.AddressOf(HealthCheck.Urls(configuration), Settings.DefaultUrl).ToString());
    }

    private static async Task<(int Code, string Said)> Ask(string[] args, (string Name, string Value)[] environment)
    {
        using var process = new Process
        {
            StartInfo = new ProcessStartInfo(Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet", [Path.Combine(AppContext.BaseDirectory, "Billing.Api.dll"), HealthCheck.Option, .. args])
            {
                RedirectStandardOutput = true, RedirectStandardError = true,
            },
        };
        foreach (var (name, value) in environment) process.StartInfo.Environment[name] = value;
        process.Start();
        var said = await Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        return (process.ExitCode, string.Concat(said));
    }
}
