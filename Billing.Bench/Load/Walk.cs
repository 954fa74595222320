namespace Billing.Bench;

/// <summary>Which organization a request is for.</summary>
public abstract class Walk
{
    /// <param name="index">The request's place in its run.</param>
    public abstract int Next(long index);

    /// <summary>At random, all alike, and the same in every run. Of one organization: always that one.</summary>
    public static Walk Uniform(int organizations, int connection) => new RandomWalk(connection, draw => (int)(draw % (uint)organizations));

    /// <summary>At random, the n-th organization as often as 1/n of the first.</summary>
    public static Walk Zipf(int organizations, int connection)
    {
        var table = ZipfTable(organizations);
        return new RandomWalk(connection, draw => table[draw >> ZipfShift]);
    }

    /// <summary>One after the other, and from the beginning again.</summary>
    public static Walk InTurn(int organizations) => new TurnWalk(organizations);

    private const int ZipfBits = 18, ZipfShift = 32 - ZipfBits;

    private static int[] zipf = [];
    private static int zipfOrganizations;

    /// <summary>Each organization stands in the table as often as it is to be drawn, so that drawing is one look.</summary>
    private static int[] ZipfTable(int organizations)
    {
        if (zipfOrganizations == organizations) return zipf;
        var table = new int[1 << ZipfBits];
        var all = Enumerable.Range(1, organizations).Sum(n => 1.0 / n);
        var (organization, reached) = (0, 1 / all);
        for (var i = 0; i < table.Length; i++)
        {
            while ((i + 0.5) / table.Length > reached && organization < organizations - 1) reached += 1 / all / (++organization + 1);
            table[i] = organization;
        }
        (zipf, zipfOrganizations) = (table, organizations);
        return table;
    }

    private sealed class RandomWalk(int connection, Func<uint, int> choose) : Walk
    {
        private uint random = 2_463_534_242u ^ (uint)(connection + 1) * 7_919u;

        public override int Next(long index)
        {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            return choose(random);
        }
    }

    private sealed class TurnWalk(int organizations) : Walk
    {
        public override int Next(long index) => (int)(index % organizations);
    }
}
