using System.Runtime.InteropServices;

namespace Billing.Bench;

/// <summary>What must not outlive the benchmark, however it ends: processes and folders, the last made first.</summary>
public static class Cleanup
{
    private static readonly Stack<IDisposable> Made = new();

    public static T Add<T>(T made) where T : IDisposable
    {
        lock (Made) Made.Push(made);
        return made;
    }

    /// <summary>Told to end early, nothing is left behind either.</summary>
    public static IReadOnlyList<IDisposable> OnSignals() =>
        [.. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP }.Select(signal => PosixSignalRegistration.Create(signal, _ => Run()))];

    public static void Run()
    {
        lock (Made)
            while (Made.TryPop(out var made)) made.Dispose();
    }
}

/// <summary>A folder that is gone when the benchmark is.</summary>
public sealed class TemporaryFolder : IDisposable
{
    public TemporaryFolder(string parent) => Path = Directory.CreateDirectory(System.IO.Path.Combine(parent, $"billing-bench-{Guid.NewGuid():N}")).FullName;

    public string Path { get; }

    /// <summary>A folder in it.</summary>
    public string New(string name) => Directory.CreateDirectory(System.IO.Path.Combine(Path, name)).FullName;

    public void Dispose()
    {
        if (Directory.Exists(Path)) Directory.Delete(Path, recursive: true);
    }
}
