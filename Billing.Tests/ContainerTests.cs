using System.Text.RegularExpressions;
using System.Xml.Linq;
using Billing.Api;
using Billing.Silo;
using Billing.StripeSandbox;
using Microsoft.Extensions.Configuration;

namespace Billing.Tests;

/// <summary>Nothing builds the images where these tests run, so what they are made of and started with is held against the code.</summary>
public sealed partial class ContainerTests
{
    private static readonly string Dockerfile = Read("docker/Dockerfile");
    private static readonly string Compose = Read("compose.yaml");
    private static readonly string Single = Read("docker/single.yaml");
    private static readonly string SandboxPages = Read("docker/sandbox-pages.yaml");
    private static readonly string Example = Read(".env.example");

    /// <summary>Every project but the tests, as text.</summary>
    private static readonly string Code = string.Concat(Directory.EnumerateDirectories(Repository.Root, "Billing.*").Where(d => !d.EndsWith(".Tests", StringComparison.Ordinal))
        .SelectMany(d => Directory.EnumerateFiles(d, "*.cs", SearchOption.AllDirectories)).Where(f => !f.Contains("/obj/", StringComparison.Ordinal)).Select(File.ReadAllText));

    [Fact]
    public void a_working_cluster_is_four_containers()
    {
        var services = Services(Compose);

        Assert.Equal(["postgres", "silo-1", "silo-2", "api"], services.Where(s => !s.Value.Contains("profiles:", StringComparison.Ordinal)).Select(s => s.Key));
        Assert.Equal(["billing", "sandbox"], services.Where(s => s.Value.Contains("profiles:", StringComparison.Ordinal)).Select(s => s.Key));
        Assert.Contains("four containers", Read("README.md"), StringComparison.Ordinal);
        Assert.Equal(["api"], Services(Single).Keys);
    }

    [Fact]
    public void every_setting_that_a_container_is_given_is_read_by_somebody()
    {
        // PostgreSQL's image, its client, and compose itself read these.
        string[] others = ["POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_INITDB_ARGS", "PGPASSWORD", "COMPOSE_PROFILES", "COMPOSE_FILE"];
        var given = Environment().Matches(Compose + Single).Concat(ImageEnvironment().Matches(Dockerfile)).Select(m => m.Groups["name"].Value).Distinct().ToList();
        Assert.Contains("Cluster__Mode", given);
        Assert.Contains("Billing__Journal", given);

        Assert.All(given.Except(others), IsRead);
        Assert.All(Explained().Select(v => v.Name).Except(others).Except(Asked()), IsRead);

        static void IsRead(string name) => Assert.True(Code.Contains($"\"{name.Replace("__", ":", StringComparison.Ordinal)}\"", StringComparison.Ordinal) || name == "ASPNETCORE_HTTP_PORTS", $"Nothing reads {name}.");
    }

    [Fact]
    public void every_variable_is_explained_and_what_is_secret_must_be_given()
    {
        Assert.Equal(Asked().Order(StringComparer.Ordinal), Explained().Select(v => v.Name).Intersect(Asked()).Order(StringComparer.Ordinal));
        var must = Variable().Matches(Compose + Single).Where(m => m.Groups["rest"].Value.StartsWith(":?", StringComparison.Ordinal)).Select(m => m.Groups["name"].Value).Distinct();
        Assert.Equal(["BILLING_OPERATOR_KEY", "POSTGRES_PASSWORD"], must.Order(StringComparer.Ordinal));
        Assert.All(Variable().Matches(Compose + Single), m => Assert.Matches(@"\A:[?-].", m.Groups["rest"].Value));

        // Whoever copies the file and fills nothing in is told so: only these two are set, to nothing.
        Assert.Equal([("BILLING_OPERATOR_KEY", ""), ("POSTGRES_PASSWORD", "")], Explained().Where(v => v.IsSet).Select(v => (v.Name, v.Value)));
        Assert.Contains(".env", Read(".gitignore").Split('\n'));
    }

    [Fact]
    public void the_images_are_made_of_what_is_there()
    {
        foreach (Match copy in Copies().Matches(Dockerfile))
            Assert.All(copy.Groups["from"].Value.Split(' '), path => Assert.True(path == "." || Path.Exists(Path.Combine(Repository.Root, path)), $"There is no {path}."));

        // The restore has every project file that it follows.
        var followed = new Queue<string>(["Billing.Api", "Billing.Cli"]);
        while (followed.TryDequeue(out var project))
        {
            Assert.Contains($"COPY {project}/{project}.csproj {project}/", Dockerfile, StringComparison.Ordinal);
            foreach (var reference in XDocument.Load(Path.Combine(Repository.Root, project, $"{project}.csproj")).Descendants("ProjectReference"))
                followed.Enqueue(Path.GetFileNameWithoutExtension(reference.Attribute("Include")!.Value));
        }

        // What is published is what is started.
        var published = Published().Matches(Dockerfile).ToDictionary(m => m.Groups["folder"].Value, m => m.Groups["project"].Value);
        var started = Started().Matches(Dockerfile).ToDictionary(m => m.Groups["target"].Value, m => m.Groups["program"].Value);
        Assert.Equal(["api", "cli", "sandbox", "silo"], started.Keys.Order(StringComparer.Ordinal));
        foreach (var (target, program) in started)
        {
            var project = XDocument.Load(Path.Combine(Repository.Root, published[target], $"{published[target]}.csproj"));
            Assert.Equal(program, project.Descendants("AssemblyName").FirstOrDefault()?.Value ?? published[target]);
        }
        Assert.All(Targets().Matches(Compose + Single), m => Assert.Contains(m.Groups["target"].Value, started.Keys));
        Assert.All(Dockerfiles().Matches(Compose + Single), m => Assert.Equal("docker/Dockerfile", m.Groups["path"].Value));
        Assert.Equal(2, Regex.Count(Dockerfile, Regex.Escape($"\"{HealthCheck.Option}\"")));
        Assert.Contains("USER $APP_UID", Dockerfile, StringComparison.Ordinal);
    }

    [Fact]
    public void ports_are_those_of_the_programs_and_open_to_this_machine_only()
    {
        var http = Assert.Single(Regex.Matches(Dockerfile, @"ASPNETCORE_HTTP_PORTS=(\d+)")).Groups[1].Value;
        Assert.Contains($"FROM runtime AS api\nCOPY --from=publish /out/api ./\nCOPY catalogs/ catalogs/\nENV Billing__Journal=/data/ledger.db\nEXPOSE {http}\n", Dockerfile, StringComparison.Ordinal);
        var cluster = Read("Billing.Silo/Orleans/ClusterSettings.cs");
        string Default(string name) => Regex.Match(cluster, $@"""{name}"", isAlone \? 0 : (\d+)").Groups[1].Value;
        Assert.Contains($"EXPOSE {http} {Default("Cluster:SiloPort")} {Default("Cluster:GatewayPort")}\n", Dockerfile, StringComparison.Ordinal);
        Assert.Contains($"EXPOSE {SandboxOptions.UsualPort}\n", Dockerfile, StringComparison.Ordinal);

        // The documentation's addresses work.
        var usual = new Uri(Settings.DefaultUrl).Port;
        Assert.Equal([$"127.0.0.1:${{BILLING_PORT:-{usual}}}:{http}"], Ports(Compose));
        Assert.Equal(Ports(Compose), Ports(Single));
        Assert.Equal([$"127.0.0.1:{SandboxOptions.UsualPort}:{SandboxOptions.UsualPort}"], Ports(SandboxPages));
        Assert.Contains($"BILLING_URL: http://api:{http}\n", Compose, StringComparison.Ordinal);
    }

    [Fact]
    public void the_stand_in_for_stripe_is_started_as_the_service_is_told_and_no_rule_bends()
    {
        var sandbox = Services(Compose)["sandbox"];
        var arguments = Regex.Matches(Regex.Match(sandbox, @"command: \[(.+)\]").Groups[1].Value, "\"([^\"]+)\"").Select(m => m.Groups[1].Value).ToList();
        var options = SandboxOptions.Read(arguments);
        Assert.NotNull(options);
        // The API reaches it on its own loopback: they share it.
        Assert.Contains("network_mode: service:api", sandbox, StringComparison.Ordinal);

        // The last block of the file, as somebody switches it on.
        var said = Explained().Reverse().DistinctBy(v => v.Name).Where(v => v.Value.Length > 0 && v.Name is not "COMPOSE_FILE").ToDictionary(v => v.Name.Replace("__", ":", StringComparison.Ordinal), v => (string?)v.Value);
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(said).Build();
        var settings = Settings.Read(configuration, isDevelopment: false, Repository.Root);

        Assert.Equal((options.ApiKey, new Uri($"http://127.0.0.1:{options.Port}")), (settings.StripeKey, settings.StripeAddress));
        Assert.Equal([options.WebhookSecret], settings.WebhookSecrets);
        Assert.Equal("/webhooks/stripe", options.WebhookUrl!.AbsolutePath);
    }

    private static string Read(string path) => File.ReadAllText(Path.Combine(Repository.Root, path));

    /// <summary>Each with its lines; comments are left out, and what is merged into it is not put in.</summary>
    private static Dictionary<string, string> Services(string compose)
    {
        var services = new Dictionary<string, string>();
        string? name = null;
        var inside = false;
        foreach (var line in compose.Split('\n').Where(l => !l.TrimStart().StartsWith('#')))
        {
            if (line.Length > 0 && line[0] != ' ') inside = line == "services:";
            if (!inside) continue;
            if (ServiceName().Match(line) is { Success: true } begins) services[name = begins.Groups[1].Value] = "";
            else if (name is not null) services[name] += line + "\n";
        }
        return services;
    }

    /// <summary>The variables that the compose files ask for.</summary>
    private static IEnumerable<string> Asked() => Variable().Matches(Compose + Single).Select(m => m.Groups["name"].Value).Distinct();

    /// <summary>The variables of .env.example; those that are only suggested are comments.</summary>
    private static IEnumerable<(string Name, string Value, bool IsSet)> Explained() =>
        Suggestion().Matches(Example).Select(m => (m.Groups["name"].Value, m.Groups["value"].Value, m.Groups["off"].Length == 0));

    private static IEnumerable<string> Ports(string compose) => PublishedPort().Matches(compose).Select(m => m.Groups[1].Value);

    [GeneratedRegex(@"^ {2}([a-z0-9-]+):$")]
    private static partial Regex ServiceName();

    [GeneratedRegex(@"\$\{(?<name>\w+)(?<rest>[^}]*)\}")]
    private static partial Regex Variable();

    [GeneratedRegex(@"^(?<off>#?)(?<name>[A-Za-z]\w*)=(?<value>.*)$", RegexOptions.Multiline)]
    private static partial Regex Suggestion();

    /// <summary>Members of `environment` are the only ones that begin with a capital.</summary>
    [GeneratedRegex(@"^ +(?<name>[A-Z]\w+):", RegexOptions.Multiline)]
    private static partial Regex Environment();

    [GeneratedRegex(@"^ENV (?<name>Billing__\w+|ASPNETCORE_\w+)=", RegexOptions.Multiline)]
    private static partial Regex ImageEnvironment();

    [GeneratedRegex(@"^COPY (?!--from)(?<from>.+) \S+$", RegexOptions.Multiline)]
    private static partial Regex Copies();

    [GeneratedRegex(@"dotnet publish (?<project>\S+) .*-o /out/(?<folder>\w+)$", RegexOptions.Multiline)]
    private static partial Regex Published();

    [GeneratedRegex(@"^FROM runtime AS (?<target>\w+)$(?:(?!^FROM)[\s\S])*?^ENTRYPOINT \[""dotnet"", ""(?<program>[\w.]+)\.dll""\]", RegexOptions.Multiline)]
    private static partial Regex Started();

    [GeneratedRegex(@"target: (?<target>\w+)")]
    private static partial Regex Targets();

    [GeneratedRegex(@"dockerfile: (?<path>[^, ]+)")]
    private static partial Regex Dockerfiles();

    [GeneratedRegex(@"- ""([^""]*:\d+)""$", RegexOptions.Multiline)]
    private static partial Regex PublishedPort();
}
