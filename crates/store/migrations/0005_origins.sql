-- Where artifacts were taken from, what registries' tags pointed to when they were last looked at,
-- and which artifacts' content was removed. `kept_at` is the newest registration.
ALTER TABLE artifacts ADD COLUMN kept_at INTEGER;
ALTER TABLE artifacts ADD COLUMN removed_at INTEGER;
ALTER TABLE artifacts ADD COLUMN removed_why TEXT;

-- An empty tag means that a digest was named.
CREATE TABLE origins (
    digest     TEXT    NOT NULL REFERENCES artifacts (digest),
    repository TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    resolved   TEXT    NOT NULL,
    manifest   TEXT    NOT NULL,
    platform   TEXT,
    at         INTEGER NOT NULL,
    PRIMARY KEY (digest, repository, tag, resolved)
);
CREATE INDEX origins_by_manifest ON origins (manifest);

CREATE TABLE tags (
    repository TEXT    NOT NULL,
    tag        TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)
);

