namespace Billing.Tests;

/// <summary>Where the repository's own files are, whatever directory the tests run in.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    /// <summary>The full path of a sample catalog.</summary>
    public static string Catalog(string name) => Path.Combine(Root, "catalogs", $"{name}.json");

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "BillingLedger.sln"))) return folder.FullName;
        throw new DirectoryNotFoundException($"No folder above {AppContext.BaseDirectory} has BillingLedger.sln.");
    }
}
