-- Signed-in browsers, and links that sign one in.
CREATE TABLE sessions (
  hash          BYTEA   PRIMARY KEY,          -- SHA-256 of what the cookie has, or of what the link has
  kind          TEXT    NOT NULL,             -- operator, portal, or link: a link becomes a portal session
  caller        TEXT    NOT NULL,             -- who is written down beside what is done
  name          TEXT    NOT NULL,
  organization  TEXT COLLATE "C",                      -- null for operators, who see all
  scopes        BIGINT  NOT NULL,             -- bits, see Scopes
  test          BIGINT ,                      -- 1: test organizations only; 0: live ones only; null: both
  created_at    BIGINT  NOT NULL,             -- microseconds since 1970
  seen_at       BIGINT  NOT NULL,             -- to the minute
  expires_at    BIGINT  NOT NULL,
  ended_at      BIGINT                        -- signed out, used up or revoked
);
CREATE INDEX sessions_by_caller ON sessions (caller);
CREATE INDEX sessions_by_organization ON sessions (organization) WHERE organization IS NOT NULL;
CREATE INDEX sessions_by_end ON sessions (expires_at);
