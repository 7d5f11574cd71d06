-- Agents on hosts of their own, from their invitation on. A join token's text is kept nowhere, only
-- the SHA-256 of its public half; an agent's private key never leaves its host. `carries` are patterns
-- of lanes with a space between.
CREATE TABLE agents (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    id           TEXT    NOT NULL UNIQUE,
    name         TEXT    NOT NULL,
    carries      TEXT    NOT NULL,
    invite       TEXT    NOT NULL UNIQUE,
    invited_by   TEXT    NOT NULL,
    invited_at   INTEGER NOT NULL,
    invited_till INTEGER NOT NULL,
    public_key   TEXT,
    joined_at    INTEGER,
    revoked_by   TEXT,
    revoked_at   INTEGER
);
CREATE INDEX agents_in_force ON agents (name) WHERE revoked_at IS NULL;
