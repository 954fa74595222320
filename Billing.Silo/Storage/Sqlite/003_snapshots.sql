-- What is computed from the journal. Every row may be deleted at any time: a snapshot is taken again, a feed begins anew.

CREATE TABLE snapshots (
  organization  TEXT    PRIMARY KEY,
  version       INTEGER NOT NULL,             -- of the last event that is in it
  hash          BLOB    NOT NULL,             -- that event's: another one, and the snapshot is ignored
  format        TEXT    NOT NULL,             -- changes with the build: another one, and the snapshot is ignored
  body          BLOB    NOT NULL,             -- the state, compressed, behind a checksum
  taken_at      INTEGER NOT NULL              -- microseconds since 1970
);

CREATE TABLE feeds (
  name          TEXT    PRIMARY KEY,
  position      INTEGER NOT NULL,             -- of the last event that was handled
  updated_at    INTEGER NOT NULL              -- microseconds since 1970
) WITHOUT ROWID;
