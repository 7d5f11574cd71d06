-- The ways into a trace.
CREATE INDEX releases_of_digest ON releases (digest, number);
CREATE INDEX releases_of_version ON releases (substr(id, length(service) + 2), number);
CREATE INDEX releases_by ON releases (created_by, number);
CREATE INDEX rollouts_of_release ON rollouts (release, number);
CREATE INDEX rollouts_by ON rollouts (created_by, number);
