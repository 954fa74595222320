using System.CodeDom.Compiler;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Billing.Api;
using Billing.Grains;
using Billing.Grains.Journal;
using Billing.Ledger;
using Billing.Silo.Storage;
using Billing.Tests.Api;

namespace Billing.Tests;

/// <summary>The rules of the code's own style, so that nobody has to remember them.</summary>
public sealed class ArchitectureTests
{
    private static readonly Assembly Ledger = typeof(LedgerEvent).Assembly;
    private static readonly Assembly Interfaces = typeof(IOrganizationLedger).Assembly;
    private static readonly Assembly Grains = typeof(LedgerSession).Assembly;
    private static readonly Assembly Silo = typeof(Database).Assembly;
    private static readonly Assembly Api = typeof(Program).Assembly;

    /// <summary>From the inside out: each may refer to those before it.</summary>
    private static readonly Assembly[] Layers = [Ledger, Interfaces, Grains, Silo, Api];

    private const string CommandLine = "Billing.Cli";

    [Fact]
    public void references_run_one_way()
    {
        Assert.Equal(["Billing.Ledger", "Billing.Grains.Interfaces", "Billing.Grains", "Billing.Silo", "Billing.Api"], Layers.Select(NameOf));
        foreach (var (place, layer) in Layers.Index())
        {
            var inside = Layers.Take(place).Select(NameOf).ToList();
            // In Development the service starts the stand-in for Stripe with itself.
            if (layer == Api) inside.Add("Billing.StripeSandbox");
            var referred = layer.GetReferencedAssemblies().Select(a => a.Name!).Where(n => n.StartsWith("Billing.", StringComparison.Ordinal));
            Assert.All(referred, name => Assert.True(inside.Contains(name), $"{NameOf(layer)} refers to {name}."));
            // The compiler leaves out what is not used; the project file does not.
            var written = XDocument.Load(Path.Combine(Repository.Root, NameOf(layer), $"{NameOf(layer)}.csproj")).Descendants("ProjectReference")
                .Select(r => Path.GetFileNameWithoutExtension(r.Attribute("Include")!.Value));
            Assert.All(written, name => Assert.True(inside.Contains(name), $"{NameOf(layer)}.csproj refers to {name}."));
        }
    }

    [Fact]
    public void the_command_line_stands_beside_the_api_and_not_on_it()
    {
        var written = XDocument.Load(Path.Combine(Repository.Root, CommandLine, $"{CommandLine}.csproj")).Descendants("ProjectReference").Select(r => r.Attribute("Include")!.Value);
        Assert.Equal(["../Billing.Silo/Billing.Silo.csproj"], written);
        Assert.DoesNotContain(typeof(Billing.Cli.Program).Assembly.GetReferencedAssemblies(), a => a.Name == NameOf(Api));
    }

    [Fact]
    public void the_stripe_sandbox_knows_nothing_of_the_product()
    {
        Assert.DoesNotContain(typeof(Billing.StripeSandbox.SandboxServer).Assembly.GetReferencedAssemblies(), a => a.Name!.StartsWith("Billing.", StringComparison.Ordinal));
        Assert.Empty(XDocument.Load(Path.Combine(Repository.Root, "Billing.StripeSandbox", "Billing.StripeSandbox.csproj")).Descendants("ProjectReference"));
    }

    [Fact]
    public void the_ledger_has_no_package_but_NodaTime()
    {
        using var file = new PEReader(File.OpenRead(AsBuilt(Ledger)));
        var reader = file.GetMetadataReader();
        var names = reader.AssemblyReferences.Select(a => reader.GetString(reader.GetAssemblyReference(a).Name)).ToList();
        Assert.Contains("NodaTime", names);
        // Under Orleans, the marks of what travels and what is generated from them; nothing of its runtime.
        Assert.All(names, name => Assert.True(name is "NodaTime" or "Orleans.Serialization" or "Orleans.Serialization.Abstractions" || name.StartsWith("System.", StringComparison.Ordinal),
            $"Billing.Ledger refers to {name}."));
        var packages = XDocument.Load(Path.Combine(Repository.Root, "Billing.Ledger", "Billing.Ledger.csproj")).Descendants()
            .Where(e => e.Name.LocalName is "PackageReference" or "FrameworkReference" or "Reference").Select(e => e.Attribute("Include")!.Value);
        Assert.Equal(["NodaTime"], packages);
    }

    [Fact]
    public void the_ledger_does_no_input_or_output_reads_no_clock_waits_for_nothing_and_rolls_no_dice()
    {
        string[] namespaces =
        [
            "System.IO", "System.Net", "System.Data", "System.Threading.Tasks", "System.Timers", "System.Diagnostics.Tracing", "Microsoft.Extensions", "Microsoft.AspNetCore",
        ];
        string[] types =
        [
            "System.Random", "System.TimeProvider", "System.Console", "System.Diagnostics.Stopwatch", "System.Diagnostics.Process",
            "System.Threading.Thread", "System.Threading.Timer", "System.Security.Cryptography.RandomNumberGenerator", "NodaTime.SystemClock", "NodaTime.IClock",
        ];
        string[] members =
        [
            "System.DateTime.get_Now", "System.DateTime.get_UtcNow", "System.DateTime.get_Today", "System.DateTimeOffset.get_Now", "System.DateTimeOffset.get_UtcNow",
            "System.Guid.NewGuid", "System.Guid.CreateVersion7", "System.Environment.get_TickCount", "System.Environment.get_TickCount64",
            "System.Environment.GetEnvironmentVariable",
        ];
        var (usedTypes, usedMembers) = Used(Ledger);

        Assert.Contains("NodaTime.Instant", usedTypes);
        Assert.DoesNotContain(usedTypes, t => types.Contains(t) || namespaces.Any(n => t.StartsWith($"{n}.", StringComparison.Ordinal)));
        Assert.DoesNotContain(usedMembers, members.Contains);
        // Its source names none of them either: not in a comment that would soon be code.
        var forbidden = new Regex(@"DateTime(Offset)?\.(Utc)?Now|\basync\b|\bawait\b|Guid\.NewGuid|\bnew Random\b|Random\.Shared|TimeProvider|SystemClock|Task\.Run|\bFile\.");
        AssertNoLine(SourceOf("Billing.Ledger"), forbidden);
    }

    [Fact]
    public void nothing_reads_the_systems_clock_but_through_its_one_clock()
    {
        var clock = new Regex(@"DateTime(Offset)?\.(Utc)?Now|SystemClock\.Instance");

        foreach (var project in Layers.Select(NameOf).Append(CommandLine)) AssertNoLine(SourceOf(project), clock);
    }

    [Fact]
    public void every_rejection_is_expected_by_some_test()
    {
        var tests = string.Concat(SourceOf("Billing.Tests").Where(f => !f.EndsWith("ArchitectureTests.cs", StringComparison.Ordinal)).Select(File.ReadAllText));

        Assert.All(Enum.GetValues<RejectionKind>(), kind =>
            Assert.True(tests.Contains($"ThenRejected(RejectionKind.{kind})", StringComparison.Ordinal) || tests.Contains($"\"{Spelling.Of(kind)}\"", StringComparison.Ordinal), $"No test expects {kind}."));
    }

    [Fact]
    public void the_program_reads_as_a_table_of_contents()
    {
        var lines = File.ReadAllLines(Path.Combine(Repository.Root, "Billing.Api", "Program.cs")).Length;

        Assert.True(lines <= 80, $"Program.cs has {lines} lines; 80 are enough for a table of contents.");
    }

    [Fact]
    public void the_contracts_are_documented()
    {
        var contract = File.ReadAllText(Path.Combine(Repository.Root, "Billing.Grains", "Journal", "IJournal.cs"));
        var ofJournal = Grains.GetExportedTypes().Where(t => Regex.IsMatch(contract, $@"public [a-z ]*(interface|record|enum|class) {t.Name}\b")).ToList();
        Assert.Contains(typeof(IJournal), ofJournal);
        Assert.Contains(typeof(StoredEvent), ofJournal);

        string[] missing = [.. Undocumented(Interfaces, Interfaces.GetExportedTypes()), .. Undocumented(Grains, ofJournal)];

        Assert.True(missing.Length == 0, $"These have no XML docs:\n{string.Join('\n', missing)}");
    }

    [Fact]
    public void only_the_stripe_folder_knows_stripes_shapes()
    {
        // Field and event names of Stripe's API that are not also words of ours.
        var stripes = new Regex(
            "client_reference_id|payment_intent|current_period_(start|end)|lookup_keys|billing_cycle_anchor|attempt_count|amount_(due|paid|received|refunded|total)|payment_status"
            + "|subscription_details|cancel_at_period_end\"|checkout\\.session|customer\\.subscription\\.|invoice\\.(paid|payment)|charge\\.(refunded|dispute)|Stripe-Signature");
        var inside = Path.Combine(Repository.Root, "Billing.Api", "Stripe");
        Assert.Contains(SourceOf("Billing.Api").Where(f => f.StartsWith(inside, StringComparison.Ordinal)), f => stripes.IsMatch(File.ReadAllText(f)));

        foreach (var project in Layers.Select(NameOf).Append(CommandLine))
            AssertNoLine(SourceOf(project).Where(f => !f.StartsWith(inside + Path.DirectorySeparatorChar, StringComparison.Ordinal)), stripes);
    }

    [Fact]
    public async Task every_rejection_has_a_status_and_stands_in_the_list_of_problems_in_order_of_precedence()
    {
        await using var api = await TestApi.Start("learning-community");

        var listed = (await api.Get("/problems")).Expect(200).Json.AsArray().Select(p => (Code: p!["code"]!.GetValue<string>(), Status: p["status"]!.GetValue<int>())).ToList();

        var rejections = Enum.GetValues<RejectionKind>().Order().Select(Spelling.Of).ToList();
        Assert.Equal(rejections, listed.Select(p => p.Code).Where(rejections.Contains));
        Assert.All(listed.Where(p => rejections.Contains(p.Code)), p => Assert.InRange(p.Status, 400, 499));
        Assert.Equal(listed.Count, listed.Select(p => p.Code).Distinct().Count());
        foreach (var (code, status) in listed) Assert.Equal(status, (await api.Get($"/problems/{code}")).Expect(200)["status"]!.GetValue<int>());
    }

    // ---- reading code

    private static string NameOf(Assembly assembly) => assembly.GetName().Name!;

    private static List<string> SourceOf(string project)
    {
        var root = Path.Combine(Repository.Root, project);
        string[] built = [Path.Combine(root, "bin") + Path.DirectorySeparatorChar, Path.Combine(root, "obj") + Path.DirectorySeparatorChar];
        var files = Directory.EnumerateFiles(root, "*.cs", SearchOption.AllDirectories).Where(f => !built.Any(b => f.StartsWith(b, StringComparison.Ordinal))).ToList();
        Assert.NotEmpty(files);
        return files;
    }

    private static void AssertNoLine(IEnumerable<string> files, Regex forbidden)
    {
        foreach (var file in files)
            foreach (var (line, text) in File.ReadLines(file).Index())
                Assert.False(forbidden.IsMatch(text), $"{Path.GetRelativePath(Repository.Root, file)}:{line + 1}: {text.Trim()}");
    }

    /// <summary>Every type and member of others that the compiled code names.</summary>
    private static (HashSet<string> Types, HashSet<string> Members) Used(Assembly assembly)
    {
        using var file = new PEReader(File.OpenRead(AsBuilt(assembly)));
        var reader = file.GetMetadataReader();
        var types = reader.TypeReferences.Select(reader.GetTypeReference).Select(Name).ToHashSet();
        var members = reader.MemberReferences.Select(reader.GetMemberReference).Where(m => m.Parent.Kind == HandleKind.TypeReference)
            .Select(m => $"{Name(reader.GetTypeReference((TypeReferenceHandle)m.Parent))}.{reader.GetString(m.Name)}").ToHashSet();
        return (types, members);

        string Name(TypeReference type) => $"{reader.GetString(type.Namespace)}.{reader.GetString(type.Name)}";
    }

    /// <summary>The file in its own project: the copy beside the tests is rewritten when coverage is measured.</summary>
    private static string AsBuilt(Assembly assembly)
    {
        var built = Path.GetRelativePath(Path.Combine(Repository.Root, "Billing.Tests"), AppContext.BaseDirectory);
        return Path.Combine(Repository.Root, NameOf(assembly), built, $"{NameOf(assembly)}.dll");
    }

    /// <summary>Types, methods and properties without docs. What a record's header declares is described with the record.</summary>
    private static IEnumerable<string> Undocumented(Assembly assembly, IEnumerable<Type> types)
    {
        var documented = XDocument.Load(Path.ChangeExtension(assembly.Location, ".xml")).Descendants("member")
            .Where(m => !string.IsNullOrWhiteSpace(m.Value) || m.Elements("inheritdoc").Any()).Select(m => m.Attribute("name")!.Value.Split('(')[0]).ToHashSet();
        foreach (var type in types.Where(t => !t.IsDefined(typeof(GeneratedCodeAttribute))))
        {
            var name = type.FullName!.Replace('+', '.');
            if (!documented.Contains($"T:{name}")) yield return name;
            if (type.IsEnum)
            {
                foreach (var value in Enum.GetNames(type).Where(n => !documented.Contains($"F:{name}.{n}"))) yield return $"{name}.{value}";
                continue;
            }
            var header = type.GetConstructors().SelectMany(c => c.GetParameters()).Select(p => p.Name).ToHashSet();
            foreach (var member in type.GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
            {
                if (member is ConstructorInfo or Type || member.IsDefined(typeof(CompilerGeneratedAttribute)) || header.Contains(member.Name)) continue;
                if (member is MethodInfo { IsSpecialName: true } or MethodInfo { Name: "ToString" or "Equals" or "GetHashCode" or "Deconstruct" or "<Clone>$" }) continue;
                var kind = member switch { MethodInfo => 'M', PropertyInfo => 'P', _ => 'F' };
                if (!documented.Contains($"{kind}:{name}.{member.Name}")) yield return $"{name}.{member.Name}";
            }
        }
    }
}
