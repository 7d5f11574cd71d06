-- The ledger: a hash tree over the events, in the order of their numbers. The leaf of event n has
-- index n - 1. See docs/verification.md for what is hashed.

-- Its size and right edge; changes in the transaction that inserts the events.
CREATE TABLE log (
    "only"     INTEGER NOT NULL PRIMARY KEY CHECK ("only" = 1),
    size     INTEGER NOT NULL,
    frontier BLOB    NOT NULL
);
INSERT INTO log ("only", size, frontier) VALUES (1, 0, x'');

-- What tiles are made of: level 0 holds the leaves, each further level the roots of 256 of the
-- level below. Rows are only ever added.
CREATE TABLE log_hashes (
    level INTEGER NOT NULL,
    place INTEGER NOT NULL,
    hash  BLOB    NOT NULL,
    PRIMARY KEY (level, place)
) WITHOUT ROWID;
