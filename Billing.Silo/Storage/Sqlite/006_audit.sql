-- Who did what, and why: chained like the events.
CREATE TABLE audit (
  number       INTEGER PRIMARY KEY,       -- 1, 2, 3… without a gap
  at           INTEGER NOT NULL,          -- when it was asked for, in microseconds since 1970
  caller       TEXT    NOT NULL,          -- the id of a key, or of who signed in
  caller_name  TEXT    NOT NULL,
  what         TEXT    NOT NULL,          -- stable names, such as tokens.grant
  organization TEXT,
  about        TEXT,                      -- what of it: a feature, a key's id, an invoice
  reason       TEXT,
  before       TEXT,                      -- JSON
  after        TEXT,                      -- JSON
  request      TEXT    NOT NULL,          -- the request's id
  command_id   TEXT,                      -- the Idempotency-Key: what the ledger's events of it carry
  outcome      TEXT    NOT NULL,
  code         TEXT,                      -- of the problem, where it was not done
  hash         BLOB    NOT NULL
);

CREATE INDEX audit_by_organization ON audit (organization, number);

-- One row, from the first record on: the last one. Whoever writes waits here for its turn.
CREATE TABLE audit_head (
  id           INTEGER PRIMARY KEY,
  number       INTEGER NOT NULL,
  hash         BLOB    NOT NULL
);

-- What was begun and has not ended: of a process that went down with it, somebody else writes that it was begun.
CREATE TABLE audit_begun (
  id           TEXT    PRIMARY KEY,
  at           INTEGER NOT NULL,
  caller       TEXT    NOT NULL,
  caller_name  TEXT    NOT NULL,
  what         TEXT    NOT NULL,
  organization TEXT,
  about        TEXT,
  reason       TEXT,
  before       TEXT,
  request      TEXT    NOT NULL,
  command_id   TEXT
) WITHOUT ROWID;
