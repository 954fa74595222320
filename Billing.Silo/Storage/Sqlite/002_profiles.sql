-- Who an organization is to people: beside its stream, because it can be erased and events cannot.

CREATE TABLE profiles (
  organization  TEXT    PRIMARY KEY,
  name          TEXT,
  email         TEXT,
  address       TEXT,
  updated_at    INTEGER NOT NULL              -- microseconds since 1970
) WITHOUT ROWID;
