-- What CI and others say of artifacts. `id` is the SHA-256 of the document's bytes: the same bytes
-- about the same artifact are one row. `facts` and `verification` are JSON; the latter is of the
-- latest check. `at` is when the document was first seen here.
CREATE TABLE attestations (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    digest       TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    form         TEXT    NOT NULL,
    predicate    TEXT    NOT NULL,
    facts        TEXT    NOT NULL,
    verification TEXT    NOT NULL,
    source       TEXT    NOT NULL,
    added_by     TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    checked_at   INTEGER NOT NULL,
    UNIQUE (digest, id)
);

-- The documents as they were received, apart so that lists stay narrow. `envelope` is what Airboss
-- signed where it put a plain report into words.
CREATE TABLE documents (
    digest   TEXT NOT NULL,
    id       TEXT NOT NULL,
    bytes    BLOB NOT NULL,
    envelope TEXT,
    PRIMARY KEY (digest, id)
);

-- Where a release comes from, as CI told when it added it.
CREATE TABLE builds (
    release    TEXT    NOT NULL PRIMARY KEY,
    commit_id  TEXT,
    reference  TEXT,
    run        TEXT,
    actor      TEXT,
    repository TEXT,
    builder    TEXT,
    at         INTEGER NOT NULL
);
CREATE INDEX builds_of_commit ON builds (commit_id) WHERE commit_id IS NOT NULL;
CREATE INDEX builds_of_run ON builds (run) WHERE run IS NOT NULL;

-- Events that others pushed, so that one that comes twice is taken once.
CREATE TABLE deliveries (
    id TEXT    NOT NULL PRIMARY KEY,
    at INTEGER NOT NULL
);
CREATE INDEX deliveries_by_time ON deliveries (at);
