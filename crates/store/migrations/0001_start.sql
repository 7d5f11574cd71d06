-- Times are microseconds since 1970 in UTC. JSON is kept as the compact text that was given.
-- Truth values are 0 and 1. Steps are never edited once shipped; a change is a new file.

CREATE TABLE services (
    name     TEXT    NOT NULL,
    version  INTEGER NOT NULL,
    text     TEXT    NOT NULL,
    manifest TEXT    NOT NULL,
    hash     TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (name, version)
);

CREATE TABLE artifacts (
    digest TEXT    NOT NULL PRIMARY KEY,
    size   INTEGER NOT NULL,
    source TEXT    NOT NULL,
    at     INTEGER NOT NULL
);

-- `number` is the order of creation: clocks are not trusted with it.
CREATE TABLE releases (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    service       TEXT    NOT NULL,
    digest        TEXT    NOT NULL,
    manifest_hash TEXT    NOT NULL,
    created_by    TEXT    NOT NULL,
    at            INTEGER NOT NULL
);
CREATE INDEX releases_of_service ON releases (service, number);

CREATE TABLE rollout_numbers (
    service TEXT    NOT NULL PRIMARY KEY,
    last    INTEGER NOT NULL
);

-- Narrow on purpose: renewing thousands of claims rewrites these rows, so the state, which is
-- large, lives in its own table. `pending` counts unconsumed inbox entries. `owned_until` is
-- the smallest integer while nobody owns the lane, so that one comparison finds free lanes.
CREATE TABLE lanes (
    lane        TEXT    NOT NULL PRIMARY KEY,
    seq         INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    active      INTEGER NOT NULL,
    pending     INTEGER NOT NULL,
    owner       TEXT,
    owned_until INTEGER NOT NULL
);
CREATE INDEX lanes_with_work ON lanes (owned_until) WHERE active + pending > 0;
CREATE INDEX lanes_of_owner ON lanes (owner) WHERE owner IS NOT NULL;

CREATE TABLE lane_states (
    lane  TEXT NOT NULL PRIMARY KEY REFERENCES lanes (lane),
    state TEXT NOT NULL
);

CREATE TABLE inbox (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    lane   TEXT    NOT NULL REFERENCES lanes (lane),
    key    TEXT    NOT NULL UNIQUE,
    body   TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    answer TEXT
);
CREATE INDEX inbox_unconsumed ON inbox (lane, id) WHERE answer IS NULL;

CREATE TABLE inputs (
    lane  TEXT    NOT NULL REFERENCES lanes (lane),
    seq   INTEGER NOT NULL,
    at    INTEGER NOT NULL,
    input TEXT    NOT NULL,
    PRIMARY KEY (lane, seq)
);

-- The one row that gives events their numbers. It is updated in the transaction that inserts
-- them, so a rolled-back commit gives its numbers back and the order has no gaps.
CREATE TABLE event_numbers (
    "only" INTEGER NOT NULL PRIMARY KEY CHECK ("only" = 1),
    last INTEGER NOT NULL
);
INSERT INTO event_numbers ("only", last) VALUES (1, 0);

CREATE TABLE events (
    number  INTEGER PRIMARY KEY,
    lane    TEXT    NOT NULL REFERENCES lanes (lane),
    seq     INTEGER NOT NULL,
    rollout TEXT,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    message TEXT    NOT NULL,
    body    TEXT    NOT NULL
);
CREATE INDEX events_of_lane ON events (lane, number);
CREATE INDEX events_of_rollout ON events (rollout, number) WHERE rollout IS NOT NULL;

CREATE TABLE effects (
    lane    TEXT    NOT NULL REFERENCES lanes (lane),
    seq     INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    outcome TEXT,
    PRIMARY KEY (lane, seq, ordinal)
);
CREATE INDEX effects_unfinished ON effects (lane, seq, ordinal) WHERE outcome IS NULL;

CREATE TABLE evidence (
    rollout  TEXT    NOT NULL,
    tick     INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    snapshot TEXT,
    PRIMARY KEY (rollout, tick)
);
CREATE INDEX evidence_snapshots ON evidence (rollout, tick) WHERE snapshot IS NOT NULL;

CREATE TABLE rollouts (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    lane        TEXT    NOT NULL REFERENCES lanes (lane),
    service     TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    release     TEXT    NOT NULL,
    digest      TEXT    NOT NULL,
    phase       TEXT    NOT NULL,
    outcome     TEXT,
    reason      TEXT    NOT NULL,
    created_by  TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    ended_at    INTEGER
);
CREATE INDEX rollouts_of_service ON rollouts (service, number);
CREATE INDEX rollouts_of_environment ON rollouts (environment, number);
CREATE INDEX rollouts_of_lane ON rollouts (lane, number);
CREATE INDEX rollouts_live ON rollouts (number) WHERE outcome IS NULL;
CREATE INDEX rollouts_live_of_service ON rollouts (service, number) WHERE outcome IS NULL;
CREATE INDEX rollouts_live_of_environment ON rollouts (environment, number) WHERE outcome IS NULL;
CREATE INDEX rollouts_live_of_lane ON rollouts (lane, number) WHERE outcome IS NULL;
