using System.Globalization;
using System.Reflection;

namespace Billing.Silo.Storage;

/// <summary>The numbered scripts that bring a schema up to date: they stand beside the class of their database.</summary>
internal static class Migrations
{
    /// <summary>By number. What was published is never changed; a change is a new script.</summary>
    /// <param name="folder">The folder of the scripts, in this one.</param>
    public static SortedDictionary<int, string> Of(string folder)
    {
        var scripts = new SortedDictionary<int, string>();
        var assembly = Assembly.GetExecutingAssembly();
        var path = $".Storage.{folder}.";
        foreach (var name in assembly.GetManifestResourceNames().Where(n => n.Contains(path, StringComparison.Ordinal) && n.EndsWith(".sql", StringComparison.Ordinal)))
        {
            using var reader = new StreamReader(assembly.GetManifestResourceStream(name)!);
            var file = name[(name.IndexOf(path, StringComparison.Ordinal) + path.Length)..];
            scripts.Add(int.Parse(file.AsSpan(0, 3), CultureInfo.InvariantCulture), reader.ReadToEnd());
        }
        return scripts;
    }

    /// <exception cref="InvalidDataException">The schema is newer than this build.</exception>
    public static void RefuseNewer(string where, int current, int latest)
    {
        if (current > latest)
            throw new InvalidDataException(
                $"'{where}' has schema {current}; this build knows schemas up to {latest}. It was written by a newer version of the service: run that one.");
    }
}
