-- What a controller has learnt about a lane, one body a topic. Losing a row loses no decision.
CREATE TABLE notes (
    lane  TEXT    NOT NULL,
    topic TEXT    NOT NULL,
    body  TEXT    NOT NULL,
    at    INTEGER NOT NULL,
    PRIMARY KEY (lane, topic)
);
