-- What is done at Stripe, and what Stripe says. Every number is a BIGINT, as it is in SQLite, so that one reader reads both.

ALTER TABLE inbox ADD COLUMN attempts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE inbox ADD COLUMN next_try_at BIGINT NOT NULL DEFAULT 0;   -- microseconds since 1970: a pending event waits until then
ALTER TABLE inbox ADD COLUMN object TEXT COLLATE "C";                 -- what it is about: a payment, for everything that speaks of one

CREATE INDEX inbox_by_object ON inbox (object);
CREATE INDEX inbox_by_organization ON inbox (organization, received_at);

CREATE INDEX customers_by_organization ON customers (organization);

ALTER TABLE profiles ADD COLUMN country TEXT;                         -- ISO 3166, two letters: tax goes by it

-- Every request that changes something at Stripe, stored before it is sent: after a crash the same key asks the same.
CREATE TABLE stripe_requests (
  idempotency_key TEXT    COLLATE "C" PRIMARY KEY,
  organization    TEXT    COLLATE "C",
  path            TEXT    COLLATE "C" NOT NULL,
  form            BYTEA,                    -- exactly what was sent first; personal data: removed after two days
  sent_at         BIGINT  NOT NULL,         -- when it was first sent, in microseconds since 1970
  answered_at     BIGINT,
  status          BIGINT,                   -- HTTP
  object          TEXT    COLLATE "C",      -- the id of what it made or changed
  error           TEXT                      -- Stripe's error, for a payment that was refused
);

CREATE INDEX stripe_requests_by_organization ON stripe_requests (organization, sent_at);
CREATE INDEX stripe_requests_by_path ON stripe_requests (path, sent_at);

-- Stripe's invoices as Stripe last showed them. Links and names are in them, so they stand beside the stream and can be erased.
CREATE TABLE stripe_invoices (
  id            TEXT    COLLATE "C" PRIMARY KEY,
  organization  TEXT    COLLATE "C" NOT NULL,
  created_at    BIGINT  NOT NULL,           -- microseconds since 1970
  status        TEXT    COLLATE "C" NOT NULL,
  number        TEXT COLLATE "C",
  seen_at       BIGINT  NOT NULL,           -- the time of the event, or of the fetch, that this is from: an older one changes nothing
  rank          BIGINT  NOT NULL,           -- of two that were seen in the same second the greater one is newer
  body          BYTEA   NOT NULL            -- JSON
);

CREATE INDEX stripe_invoices_by_organization ON stripe_invoices (organization, created_at);

-- What the ledger's events ask to be done at Stripe, until it is done. One organization that fails holds up none of the others.
CREATE TABLE stripe_tasks (
  organization  TEXT    COLLATE "C" NOT NULL,
  version       BIGINT  NOT NULL,           -- of the event
  kind          TEXT    COLLATE "C" NOT NULL,
  attempts      BIGINT  NOT NULL DEFAULT 0,
  next_try_at   BIGINT  NOT NULL,           -- microseconds since 1970
  detail        TEXT,                       -- why it could not be done the last time
  PRIMARY KEY (organization, version)
);

CREATE INDEX stripe_tasks_by_time ON stripe_tasks (next_try_at);

-- Who does what must be done by one process at a time.
CREATE TABLE leases (
  name          TEXT    COLLATE "C" PRIMARY KEY,
  holder        TEXT    COLLATE "C" NOT NULL,
  until         BIGINT  NOT NULL            -- microseconds since 1970
);

CREATE TABLE flags (
  name          TEXT    COLLATE "C" PRIMARY KEY,
  percent       BIGINT  NOT NULL,           -- of the organizations that it is on for: 0 to 100
  updated_at    BIGINT  NOT NULL,           -- microseconds since 1970
  updated_by    TEXT
);
