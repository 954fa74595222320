-- What a key may do, for how long, and since when it is known to others.
ALTER TABLE api_keys ADD COLUMN scopes BIGINT NOT NULL DEFAULT 15;        -- bits, see Scopes
ALTER TABLE api_keys ADD COLUMN test BIGINT NOT NULL DEFAULT 0;           -- 1: test organizations only; 0: live ones only
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;                        -- microseconds since 1970
ALTER TABLE api_keys ADD COLUMN last_used_at BIGINT;                      -- to the minute
ALTER TABLE api_keys ADD COLUMN replaced_by TEXT;                          -- the key that took its place
ALTER TABLE api_keys ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;       -- grows with every change: what other processes look for
UPDATE api_keys SET scopes = 31 WHERE organization IS NULL;
UPDATE api_keys SET test = 1 WHERE display LIKE 'bk\_test\_%' ESCAPE '\';
CREATE INDEX api_keys_by_revision ON api_keys (revision);
