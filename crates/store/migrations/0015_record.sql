-- Events whose words were removed by retention: the SHA-256 of message, body and input, 32 bytes
-- each, so that their seals can still be checked. An event of the installation says so.
CREATE TABLE pruned (
    number INTEGER NOT NULL PRIMARY KEY,
    texts  BLOB    NOT NULL
);

-- How far the history of a lane was removed: its commits up to `seq`.
CREATE TABLE pruned_to (
    lane TEXT    NOT NULL PRIMARY KEY,
    seq  INTEGER NOT NULL
);
