-- What others pushed, with what became of it. `build` is JSON of what it tells of a build, for
-- releases that are registered later; `commit_id`, `run` and `release` are parts of it, to be found by.
ALTER TABLE deliveries ADD COLUMN sender TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN event TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN build TEXT;
ALTER TABLE deliveries ADD COLUMN commit_id TEXT;
ALTER TABLE deliveries ADD COLUMN run TEXT;
ALTER TABLE deliveries ADD COLUMN release TEXT;
CREATE INDEX deliveries_of_commit ON deliveries (commit_id) WHERE commit_id IS NOT NULL;
CREATE INDEX deliveries_of_release ON deliveries (release) WHERE release IS NOT NULL;
CREATE INDEX deliveries_of_run ON deliveries (run) WHERE run IS NOT NULL;

-- Further ways into a trace.
CREATE INDEX builds_of_actor ON builds (actor) WHERE actor IS NOT NULL;
CREATE INDEX attestations_by_id ON attestations (id);
CREATE INDEX origins_by_resolved ON origins (resolved);
