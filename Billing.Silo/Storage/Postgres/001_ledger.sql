-- The journal: the tables of the SQLite journal, in PostgreSQL. Ids are compared by their bytes (COLLATE "C"), which is
-- exact, the same on every machine, and the cheapest.

-- What a position is: base + (id of the transaction << 16) + place within the transaction. So positions need no counter
-- that all writers share, and a reader knows from its snapshot below which of them nothing can appear any more.
CREATE TABLE journal (
  one           BOOLEAN PRIMARY KEY DEFAULT true CHECK (one),
  base          BIGINT  NOT NULL            -- raised when the events are older than the cluster: after a dump was restored
);
INSERT INTO journal (base) VALUES (0);

-- Nothing in it is ever changed or removed, except that a body which was archived is null.
CREATE TABLE events (
  position      BIGINT  NOT NULL,           -- the order over all streams
  organization  TEXT    COLLATE "C" NOT NULL,
  version       BIGINT  NOT NULL,
  type          TEXT    COLLATE "C" NOT NULL,
  schema        INTEGER NOT NULL,
  effective_at  BIGINT  NOT NULL,           -- microseconds since 1970
  recorded_at   BIGINT  NOT NULL,           -- microseconds since 1970
  command_id    TEXT    COLLATE "C",        -- on the first event of a command only
  content_hash  BYTEA,
  body          BYTEA,                      -- UTF-8 JSON, the exact bytes that are hashed; null: archived
  hash          BYTEA   NOT NULL
) PARTITION BY HASH (organization);

-- By organization and not by month: a command id is unique for ever, and an index that says so must have the partition in it.
CREATE TABLE events_0 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 0);
CREATE TABLE events_1 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 1);
CREATE TABLE events_2 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 2);
CREATE TABLE events_3 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 3);
CREATE TABLE events_4 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 4);
CREATE TABLE events_5 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 5);
CREATE TABLE events_6 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 6);
CREATE TABLE events_7 PARTITION OF events FOR VALUES WITH (MODULUS 8, REMAINDER 7);

CREATE UNIQUE INDEX events_by_version ON events (organization, version);
-- The id stands first: ids that grow with time (UUIDv7, counters) then share a page of the index, where each organization
-- would dirty one of its own. What is unique is the same.
CREATE UNIQUE INDEX events_by_command ON events (command_id, organization) WHERE command_id IS NOT NULL;
CREATE INDEX events_by_position ON events (position);

CREATE TABLE streams (
  organization  TEXT    COLLATE "C" PRIMARY KEY,
  version       BIGINT  NOT NULL,           -- of the last event
  hash          BYTEA   NOT NULL,           -- of the last event: what a cut-off tail is found against
  due_at        BIGINT                      -- when the next quota reset or token expiry is due
) WITH (fillfactor = 50);                   -- a head that moves stays on its page, and no index hears of it

CREATE INDEX streams_by_due ON streams (due_at) WHERE due_at IS NOT NULL;

-- For people with SQL.
CREATE VIEW events_readable AS
SELECT position, organization, version, type, schema,
       timestamptz 'epoch' + effective_at * interval '1 microsecond' AS effective_at,
       timestamptz 'epoch' + recorded_at * interval '1 microsecond' AS recorded_at,
       command_id, convert_from(body, 'UTF8')::jsonb AS body, encode(hash, 'hex') AS hash
FROM events;

-- What is beside the streams.

CREATE TABLE catalogs (
  version       INTEGER PRIMARY KEY,
  content_hash  BYTEA   NOT NULL,
  json          BYTEA   NOT NULL,
  published_at  BIGINT  NOT NULL
);

CREATE TABLE api_keys (
  id            TEXT    COLLATE "C" PRIMARY KEY,
  key_hash      BYTEA   NOT NULL UNIQUE,    -- SHA-256; the key itself is never stored
  name          TEXT    NOT NULL,
  organization  TEXT    COLLATE "C",        -- null: an operator's key, for all organizations
  display       TEXT    NOT NULL,           -- prefix and last four, to tell keys apart
  created_at    BIGINT  NOT NULL,
  revoked_at    BIGINT
);

CREATE TABLE customers (
  customer      TEXT    COLLATE "C" PRIMARY KEY,   -- Stripe's customer id
  organization  TEXT    COLLATE "C" NOT NULL
);

CREATE TABLE inbox (
  id            TEXT    COLLATE "C" PRIMARY KEY,   -- Stripe's event id
  type          TEXT    NOT NULL,
  created_at    BIGINT  NOT NULL,
  received_at   BIGINT  NOT NULL,
  payload_hash  BYTEA   NOT NULL,
  payload       BYTEA,                      -- personal data: removed after 90 days; null then
  state         TEXT    COLLATE "C" NOT NULL,      -- pending, applied, ignored, unclaimed, failed
  organization  TEXT    COLLATE "C",
  customer      TEXT    COLLATE "C",
  detail        TEXT                        -- what became of it, in words
);

CREATE INDEX inbox_by_state ON inbox (state, received_at);

CREATE TABLE settings (
  name          TEXT    COLLATE "C" PRIMARY KEY,
  value         BYTEA   NOT NULL
);

-- Who an organization is to people: beside its stream, because it can be erased and events cannot.
CREATE TABLE profiles (
  organization  TEXT    COLLATE "C" PRIMARY KEY,
  name          TEXT,
  email         TEXT,
  address       TEXT,
  updated_at    BIGINT  NOT NULL            -- microseconds since 1970
);

-- States folded up to some version, to save folding them again. They can be lost.
CREATE TABLE snapshots (
  organization  TEXT    COLLATE "C" PRIMARY KEY,
  version       BIGINT  NOT NULL,
  hash          BYTEA   NOT NULL,           -- of the event of that version
  format        TEXT    COLLATE "C" NOT NULL,
  body          BYTEA   NOT NULL,
  taken_at      BIGINT  NOT NULL            -- microseconds since 1970
);

-- How far each reader of the whole journal has come.
CREATE TABLE feeds (
  name          TEXT    COLLATE "C" PRIMARY KEY,
  position      BIGINT  NOT NULL,
  updated_at    BIGINT  NOT NULL            -- microseconds since 1970
);
