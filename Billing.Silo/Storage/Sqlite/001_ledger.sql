-- The journal. Nothing in these two tables is ever changed or removed but a stream's head.

CREATE TABLE events (
  position      INTEGER PRIMARY KEY,          -- the order over all streams
  organization  TEXT    NOT NULL,
  version       INTEGER NOT NULL,
  type          TEXT    NOT NULL,
  schema        INTEGER NOT NULL,
  effective_at  INTEGER NOT NULL,             -- microseconds since 1970
  recorded_at   INTEGER NOT NULL,             -- microseconds since 1970
  command_id    TEXT,                         -- on the first event of a command only
  content_hash  BLOB,
  body          BLOB    NOT NULL,             -- UTF-8 JSON, the exact bytes that are hashed
  hash          BLOB    NOT NULL
);

CREATE UNIQUE INDEX events_by_version ON events (organization, version);
-- The id stands first: ids that grow with time (UUIDv7, counters) then share a page of the index, where each organization
-- would dirty one of its own. What is unique is the same.
CREATE UNIQUE INDEX events_by_command ON events (command_id, organization) WHERE command_id IS NOT NULL;

CREATE TABLE streams (
  organization  TEXT    PRIMARY KEY,
  version       INTEGER NOT NULL,             -- of the last event
  hash          BLOB    NOT NULL,             -- of the last event: what a cut-off tail is found against
  due_at        INTEGER                       -- when the next quota reset or token expiry is due
) WITHOUT ROWID;

CREATE INDEX streams_by_due ON streams (due_at) WHERE due_at IS NOT NULL;

-- For people with SQL.
CREATE VIEW events_readable AS
SELECT position, organization, version, type, schema,
       strftime('%Y-%m-%dT%H:%M:%S', effective_at / 1000000, 'unixepoch') || printf('.%06dZ', effective_at % 1000000) AS effective_at,
       strftime('%Y-%m-%dT%H:%M:%S', recorded_at / 1000000, 'unixepoch') || printf('.%06dZ', recorded_at % 1000000) AS recorded_at,
       command_id, CAST(body AS TEXT) AS body, lower(hex(hash)) AS hash
FROM events;

-- What is beside the streams.

CREATE TABLE catalogs (
  version       INTEGER PRIMARY KEY,
  content_hash  BLOB    NOT NULL,
  json          BLOB    NOT NULL,
  published_at  INTEGER NOT NULL
);

CREATE TABLE api_keys (
  id            TEXT    PRIMARY KEY,
  key_hash      BLOB    NOT NULL UNIQUE,      -- SHA-256; the key itself is never stored
  name          TEXT    NOT NULL,
  organization  TEXT,                         -- null: an operator's key, for all organizations
  display       TEXT    NOT NULL,             -- prefix and last four, to tell keys apart
  created_at    INTEGER NOT NULL,
  revoked_at    INTEGER
);

CREATE TABLE customers (
  customer      TEXT    PRIMARY KEY,          -- Stripe's customer id
  organization  TEXT    NOT NULL
);

CREATE TABLE inbox (
  id            TEXT    PRIMARY KEY,          -- Stripe's event id
  type          TEXT    NOT NULL,
  created_at    INTEGER NOT NULL,
  received_at   INTEGER NOT NULL,
  payload_hash  BLOB    NOT NULL,
  payload       BLOB,                         -- personal data: removed after 90 days; null then
  state         TEXT    NOT NULL,             -- pending, applied, ignored, unclaimed, failed
  organization  TEXT,
  customer      TEXT,
  detail        TEXT                          -- what became of it, in words
);

CREATE INDEX inbox_by_state ON inbox (state, received_at);

CREATE TABLE settings (
  name          TEXT    PRIMARY KEY,
  value         BLOB    NOT NULL
);
