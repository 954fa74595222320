-- What is done at Stripe, and what Stripe says.

ALTER TABLE inbox ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN next_try_at INTEGER NOT NULL DEFAULT 0;  -- microseconds since 1970: a pending event waits until then
ALTER TABLE inbox ADD COLUMN object TEXT;                             -- what it is about: a payment, for everything that speaks of one

CREATE INDEX inbox_by_object ON inbox (object);
CREATE INDEX inbox_by_organization ON inbox (organization, received_at);

CREATE INDEX customers_by_organization ON customers (organization);

ALTER TABLE profiles ADD COLUMN country TEXT;                         -- ISO 3166, two letters: tax goes by it

-- Every request that changes something at Stripe, stored before it is sent: after a crash the same key asks the same.
CREATE TABLE stripe_requests (
  idempotency_key TEXT    PRIMARY KEY,
  organization    TEXT,
  path            TEXT    NOT NULL,
  form            BLOB,                     -- exactly what was sent first; personal data: removed after two days
  sent_at         INTEGER NOT NULL,         -- when it was first sent, in microseconds since 1970
  answered_at     INTEGER,
  status          INTEGER,                  -- HTTP
  object          TEXT,                     -- the id of what it made or changed
  error           TEXT                      -- Stripe's error, for a payment that was refused
) WITHOUT ROWID;

CREATE INDEX stripe_requests_by_organization ON stripe_requests (organization, sent_at);
CREATE INDEX stripe_requests_by_path ON stripe_requests (path, sent_at);

-- Stripe's invoices as Stripe last showed them. Links and names are in them, so they stand beside the stream and can be erased.
CREATE TABLE stripe_invoices (
  id            TEXT    PRIMARY KEY,
  organization  TEXT    NOT NULL,
  created_at    INTEGER NOT NULL,           -- microseconds since 1970
  status        TEXT    NOT NULL,
  number        TEXT,
  seen_at       INTEGER NOT NULL,           -- the time of the event, or of the fetch, that this is from: an older one changes nothing
  rank          INTEGER NOT NULL,           -- of two that were seen in the same second the greater one is newer
  body          BLOB    NOT NULL            -- JSON
) WITHOUT ROWID;

CREATE INDEX stripe_invoices_by_organization ON stripe_invoices (organization, created_at);

-- What the ledger's events ask to be done at Stripe, until it is done. One organization that fails holds up none of the others.
CREATE TABLE stripe_tasks (
  organization  TEXT    NOT NULL,
  version       INTEGER NOT NULL,           -- of the event
  kind          TEXT    NOT NULL,
  attempts      INTEGER NOT NULL DEFAULT 0,
  next_try_at   INTEGER NOT NULL,           -- microseconds since 1970
  detail        TEXT,                       -- why it could not be done the last time
  PRIMARY KEY (organization, version)
) WITHOUT ROWID;

CREATE INDEX stripe_tasks_by_time ON stripe_tasks (next_try_at);

-- Who does what must be done by one process at a time.
CREATE TABLE leases (
  name          TEXT    PRIMARY KEY,
  holder        TEXT    NOT NULL,
  until         INTEGER NOT NULL            -- microseconds since 1970
) WITHOUT ROWID;

CREATE TABLE flags (
  name          TEXT    PRIMARY KEY,
  percent       INTEGER NOT NULL,           -- of the organizations that it is on for: 0 to 100
  updated_at    INTEGER NOT NULL,           -- microseconds since 1970
  updated_by    TEXT
) WITHOUT ROWID;
