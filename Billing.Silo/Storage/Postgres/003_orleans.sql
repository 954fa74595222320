-- What Orleans' AdoNet providers keep here: which silos there are, reminders, and state of grains. Only the Orleans engine
-- uses it; it is always there, so that going from one engine to the other needs nothing.
--
-- A provider reads OrleansQuery when it starts and sends nothing but these texts. The keys, the names of the parameters, and
-- the names and types of what is answered are the providers' (10.x); the statements and the tables behind them are ours. So a
-- number is an INTEGER where they read an Int32, and a time is a TIMESTAMPTZ: they bind a UTC DateTime, and Npgsql reads one.
--
-- Each text is one statement, so it happens whole or not at all, and no transaction stays open, which would hold back the
-- journal's feed. (No semicolon in them: it would begin a second one.) A question of yes or no is answered by one row with
-- one boolean.
CREATE TABLE OrleansQuery (
  QueryKey        TEXT    COLLATE "C" PRIMARY KEY,
  QueryText       TEXT    NOT NULL
);

-- ---- clustering

-- One row for each cluster. Its version is the only ETag of membership: every change of a silo's row raises it by one, and is
-- refused unless it was asked for at the version that stands. So changes have one order, and every silo sees the same.
CREATE TABLE OrleansMembershipVersionTable (
  DeploymentId    TEXT    COLLATE "C" PRIMARY KEY,   -- Cluster:Id
  Timestamp       TIMESTAMPTZ NOT NULL,              -- of the last change; for people
  Version         INTEGER NOT NULL
);

CREATE TABLE OrleansMembershipTable (
  DeploymentId    TEXT    COLLATE "C" NOT NULL REFERENCES OrleansMembershipVersionTable ON DELETE CASCADE,
  Address         TEXT    COLLATE "C" NOT NULL,
  Port            INTEGER NOT NULL,
  Generation      INTEGER NOT NULL,                  -- another one at every start, on the same address and port, too
  SiloName        TEXT    NOT NULL,
  HostName        TEXT    NOT NULL,
  Status          INTEGER NOT NULL,                  -- 1 created, 2 joining, 3 active, 4 shutting down, 5 stopping, 6 dead
  ProxyPort       INTEGER NOT NULL,                  -- of its gateway; 0: it has none
  SuspectTimes    TEXT,                              -- who takes it for dead, and since when
  StartTime       TIMESTAMPTZ NOT NULL,
  IAmAliveTime    TIMESTAMPTZ NOT NULL,
  PRIMARY KEY (DeploymentId, Address, Port, Generation)
);

INSERT INTO OrleansQuery (QueryKey, QueryText) VALUES

-- Every silo asks for it at its start; the first one makes the row. Yes: it was made now.
('InsertMembershipVersionKey', $$
WITH made AS (
  INSERT INTO OrleansMembershipVersionTable (DeploymentId, Timestamp, Version) VALUES (@DeploymentId, now(), 0)
  ON CONFLICT DO NOTHING
  RETURNING 1
)
SELECT EXISTS (SELECT FROM made)
$$),

-- A silo joins: at the version that stands, and when it has no row yet. Of those who ask at the same version one is told yes:
-- the others wait for the version's row and find it raised.
('InsertMembershipKey', $$
WITH raised AS (
  UPDATE OrleansMembershipVersionTable
  SET Version = Version + 1, Timestamp = now()
  WHERE DeploymentId = @DeploymentId AND Version = @Version
    AND NOT EXISTS (
      SELECT FROM OrleansMembershipTable
      WHERE DeploymentId = @DeploymentId AND Address = @Address AND Port = @Port AND Generation = @Generation)
  RETURNING DeploymentId
), joined AS (
  INSERT INTO OrleansMembershipTable
    (DeploymentId, Address, Port, Generation, SiloName, HostName, Status, ProxyPort, StartTime, IAmAliveTime)
  SELECT DeploymentId, @Address, @Port, @Generation, @SiloName, @HostName, @Status, @ProxyPort, @StartTime, @IAmAliveTime
  FROM raised
  RETURNING 1
)
SELECT EXISTS (SELECT FROM joined)
$$),

-- A silo's status or suspicions change: at the version that stands, and when it has a row. The row is locked first, so that
-- it cannot be cleaned up between the two and leave a version raised for nothing.
('UpdateMembershipKey', $$
WITH silo AS (
  SELECT DeploymentId FROM OrleansMembershipTable
  WHERE DeploymentId = @DeploymentId AND Address = @Address AND Port = @Port AND Generation = @Generation
  FOR UPDATE
), raised AS (
  UPDATE OrleansMembershipVersionTable cluster
  SET Version = cluster.Version + 1, Timestamp = now()
  FROM silo
  WHERE cluster.DeploymentId = silo.DeploymentId AND cluster.Version = @Version
  RETURNING cluster.DeploymentId
), changed AS (
  UPDATE OrleansMembershipTable changing
  SET Status = @Status, SuspectTimes = @SuspectTimes, IAmAliveTime = @IAmAliveTime
  FROM raised
  WHERE changing.DeploymentId = raised.DeploymentId
    AND changing.Address = @Address AND changing.Port = @Port AND changing.Generation = @Generation
  RETURNING 1
)
SELECT EXISTS (SELECT FROM changed)
$$),

-- A silo's sign of life. It asks at no version and raises none: nobody else is concerned.
('UpdateIAmAlivetimeKey', $$
UPDATE OrleansMembershipTable
SET IAmAliveTime = @IAmAliveTime
WHERE DeploymentId = @DeploymentId AND Address = @Address AND Port = @Port AND Generation = @Generation
$$),

-- One silo and the version, or all silos and the version, of one moment. Without a silo the version comes alone, in a row
-- whose StartTime is null; without a version there is nothing to be read.
('MembershipReadRowKey', $$
SELECT silo.Address, silo.Port, silo.Generation, silo.SiloName, silo.HostName, silo.Status, silo.ProxyPort, silo.SuspectTimes,
       silo.StartTime, silo.IAmAliveTime, cluster.Version
FROM OrleansMembershipVersionTable cluster
LEFT JOIN OrleansMembershipTable silo
  ON silo.DeploymentId = cluster.DeploymentId AND silo.Address = @Address AND silo.Port = @Port AND silo.Generation = @Generation
WHERE cluster.DeploymentId = @DeploymentId
$$),

('MembershipReadAllKey', $$
SELECT silo.Address, silo.Port, silo.Generation, silo.SiloName, silo.HostName, silo.Status, silo.ProxyPort, silo.SuspectTimes,
       silo.StartTime, silo.IAmAliveTime, cluster.Version
FROM OrleansMembershipVersionTable cluster
LEFT JOIN OrleansMembershipTable silo ON silo.DeploymentId = cluster.DeploymentId
WHERE cluster.DeploymentId = @DeploymentId
$$),

-- What a client can connect to. @Status is "active".
('GatewaysQueryKey', $$
SELECT Address, ProxyPort, Generation
FROM OrleansMembershipTable
WHERE DeploymentId = @DeploymentId AND Status = @Status AND ProxyPort > 0
$$),

-- A cluster with all its silos, whatever the version.
('DeleteMembershipTableEntriesKey', $$
DELETE FROM OrleansMembershipVersionTable WHERE DeploymentId = @DeploymentId
$$),

-- Rows of silos that gave no sign of life since a time long ago (SiloSetup says how long). One that is active, as far as the
-- table knows, stays: the others have to declare it dead first. The version stays: nobody asks for these silos any more.
('CleanupDefunctSiloEntriesKey', $$
DELETE FROM OrleansMembershipTable
WHERE DeploymentId = @DeploymentId AND IAmAliveTime < @IAmAliveTime AND Status <> 3
$$),

-- The same, one dead silo at a time. Providers that know this text (10.4) read all rows, choose, and send this instead of the
-- one above: a row goes only if it still is what they read. No suspicions are null or empty, which the provider cannot tell.
('CleanupDefunctSiloEntryKey', $$
DELETE FROM OrleansMembershipTable
WHERE DeploymentId = @DeploymentId AND Address = @Address AND Port = @Port AND Generation = @Generation
  AND Status = 6 AND StartTime = @StartTime AND IAmAliveTime = @IAmAliveTime
  AND coalesce(SuspectTimes, '') = coalesce(@SuspectTimes, '')
$$);

-- ---- reminders

-- Version is the ETag: 0 when it was registered, and one more each time that it was set anew.
CREATE TABLE OrleansRemindersTable (
  ServiceId       TEXT    COLLATE "C" NOT NULL,
  GrainId         TEXT    COLLATE "C" NOT NULL,      -- type/key
  ReminderName    TEXT    COLLATE "C" NOT NULL,
  StartTime       TIMESTAMPTZ NOT NULL,
  Period          BIGINT  NOT NULL,                  -- milliseconds
  GrainHash       INTEGER NOT NULL,                  -- an unsigned hash, its bits read as a signed number
  Version         INTEGER NOT NULL,
  PRIMARY KEY (ServiceId, GrainId, ReminderName)
);

-- Every silo asks for its part of the ring again and again.
CREATE INDEX OrleansRemindersByHash ON OrleansRemindersTable (ServiceId, GrainHash);

INSERT INTO OrleansQuery (QueryKey, QueryText) VALUES

-- Registers a reminder or sets it anew, whatever its ETag; answers the new one.
('UpsertReminderRowKey', $$
INSERT INTO OrleansRemindersTable AS reminder (ServiceId, GrainId, ReminderName, StartTime, Period, GrainHash, Version)
VALUES (@ServiceId, @GrainId, @ReminderName, @StartTime, @Period, @GrainHash, 0)
ON CONFLICT (ServiceId, GrainId, ReminderName) DO UPDATE
SET StartTime = excluded.StartTime, Period = excluded.Period, GrainHash = excluded.GrainHash, Version = reminder.Version + 1
RETURNING Version
$$),

-- One reminder, or all of one grain.
('ReadReminderRowKey', $$
SELECT GrainId, ReminderName, StartTime, Period, Version
FROM OrleansRemindersTable
WHERE ServiceId = @ServiceId AND GrainId = @GrainId AND ReminderName = @ReminderName
$$),

('ReadReminderRowsKey', $$
SELECT GrainId, ReminderName, StartTime, Period, Version
FROM OrleansRemindersTable
WHERE ServiceId = @ServiceId AND GrainId = @GrainId
$$),

-- A part of the ring of hashes, without its begin and with its end: the first text where begin < end, as signed numbers; the
-- second where the part goes over the greatest number to the smallest. Begin and end alike are the whole ring.
('ReadRangeRows1Key', $$
SELECT GrainId, ReminderName, StartTime, Period, Version
FROM OrleansRemindersTable
WHERE ServiceId = @ServiceId AND GrainHash > @BeginHash AND GrainHash <= @EndHash
$$),

('ReadRangeRows2Key', $$
SELECT GrainId, ReminderName, StartTime, Period, Version
FROM OrleansRemindersTable
WHERE ServiceId = @ServiceId AND (GrainHash > @BeginHash OR GrainHash <= @EndHash)
$$),

-- Yes: it was there with this ETag, and is gone. A reminder that was set anew meanwhile stays.
('DeleteReminderRowKey', $$
WITH removed AS (
  DELETE FROM OrleansRemindersTable
  WHERE ServiceId = @ServiceId AND GrainId = @GrainId AND ReminderName = @ReminderName AND Version = @Version
  RETURNING 1
)
SELECT EXISTS (SELECT FROM removed)
$$),

('DeleteReminderRowsKey', $$
DELETE FROM OrleansRemindersTable WHERE ServiceId = @ServiceId
$$);

-- ---- state of grains

-- The key is all that the provider says about a grain; its hash tells kinds of keys apart that look alike in the rest. Version
-- is the ETag: 1 when first written, and one more each time.
CREATE TABLE OrleansStorage (
  ServiceId       TEXT    COLLATE "C" NOT NULL,
  GrainTypeString TEXT    COLLATE "C" NOT NULL,      -- the state's name; the grain's type is nowhere
  GrainIdHash     INTEGER NOT NULL,
  GrainIdN0       BIGINT  NOT NULL,
  GrainIdN1       BIGINT  NOT NULL,
  GrainIdString   TEXT    COLLATE "C" NOT NULL,      -- '+' and the string, or '' for none: two nulls would not be the same grain
  PayloadBinary   BYTEA,                             -- null: cleared
  ModifiedOn      TIMESTAMPTZ NOT NULL,              -- for people
  Version         INTEGER NOT NULL,
  PRIMARY KEY (ServiceId, GrainTypeString, GrainIdHash, GrainIdN0, GrainIdN1, GrainIdString)
);

-- What changes state answers the new ETag, or no row where it was refused: the provider takes that for a conflict, and the
-- grain is activated anew from what stands.
INSERT INTO OrleansQuery (QueryKey, QueryText) VALUES

('ReadFromStorageKey', $$
SELECT PayloadBinary, Version
FROM OrleansStorage
WHERE ServiceId = @ServiceId AND GrainTypeString = @GrainTypeString AND GrainIdHash = @GrainIdHash
  AND GrainIdN0 = @GrainIdN0 AND GrainIdN1 = @GrainIdN1 AND GrainIdString = coalesce('+' || @GrainIdExtensionString, '')
$$),

-- With an ETag: what stands must have it. Without one: nothing may stand; of two first writers one is refused, by the key.
('WriteToStorageKey', $$
WITH changed AS (
  UPDATE OrleansStorage
  SET PayloadBinary = @PayloadBinary, ModifiedOn = now(), Version = Version + 1
  WHERE ServiceId = @ServiceId AND GrainTypeString = @GrainTypeString AND GrainIdHash = @GrainIdHash
    AND GrainIdN0 = @GrainIdN0 AND GrainIdN1 = @GrainIdN1 AND GrainIdString = coalesce('+' || @GrainIdExtensionString, '')
    AND Version = @GrainStateVersion
  RETURNING Version
), added AS (
  INSERT INTO OrleansStorage
    (ServiceId, GrainTypeString, GrainIdHash, GrainIdN0, GrainIdN1, GrainIdString, PayloadBinary, ModifiedOn, Version)
  SELECT @ServiceId, @GrainTypeString, @GrainIdHash, @GrainIdN0, @GrainIdN1, coalesce('+' || @GrainIdExtensionString, ''),
         @PayloadBinary, now(), 1
  WHERE @GrainStateVersion IS NULL
  ON CONFLICT DO NOTHING
  RETURNING Version
)
SELECT Version AS NewGrainStateVersion FROM changed
UNION ALL
SELECT Version FROM added
$$),

-- The row stays, empty, and its ETag goes on: who has an older one is refused for ever.
('ClearStorageKey', $$
UPDATE OrleansStorage
SET PayloadBinary = NULL, ModifiedOn = now(), Version = Version + 1
WHERE ServiceId = @ServiceId AND GrainTypeString = @GrainTypeString AND GrainIdHash = @GrainIdHash
  AND GrainIdN0 = @GrainIdN0 AND GrainIdN1 = @GrainIdN1 AND GrainIdString = coalesce('+' || @GrainIdExtensionString, '')
  AND Version = @GrainStateVersion
RETURNING Version AS NewGrainStateVersion
$$),

-- As above, where the provider is set to remove rows (DeleteStateOnClear). It wants to see an ETag that differs.
('DeleteStorageKey', $$
DELETE FROM OrleansStorage
WHERE ServiceId = @ServiceId AND GrainTypeString = @GrainTypeString AND GrainIdHash = @GrainIdHash
  AND GrainIdN0 = @GrainIdN0 AND GrainIdN1 = @GrainIdN1 AND GrainIdString = coalesce('+' || @GrainIdExtensionString, '')
  AND Version = @GrainStateVersion
RETURNING Version + 1 AS NewGrainStateVersion
$$);
