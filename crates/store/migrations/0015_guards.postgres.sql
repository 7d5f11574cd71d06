-- As the guards of SQLite; TRUNCATE is refused too.

CREATE FUNCTION airboss_only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'the log is only added to: % is never %', TG_TABLE_NAME,
        CASE TG_OP WHEN 'UPDATE' THEN 'changed' ELSE 'deleted from' END
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE FUNCTION airboss_is_pruned(bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM pruned WHERE number = $1)
$$;
CREATE FUNCTION airboss_is_commit_pruned(text, bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT 1 FROM pruned_to WHERE lane = $1 AND seq >= $2)
$$;

CREATE TRIGGER events_stay BEFORE DELETE ON events
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER events_whole BEFORE TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER events_unchanged BEFORE UPDATE ON events
    FOR EACH ROW WHEN (NOT (
        NEW.message = '' AND NEW.body = '' AND NEW.number = OLD.number AND NEW.lane = OLD.lane
        AND NEW.seq = OLD.seq AND NEW.rollout IS NOT DISTINCT FROM OLD.rollout AND NEW.at = OLD.at
        AND NEW.kind = OLD.kind AND airboss_is_pruned(OLD.number)
    )) EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER inputs_stay BEFORE DELETE ON inputs
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER inputs_whole BEFORE TRUNCATE ON inputs
    FOR EACH STATEMENT EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER inputs_unchanged BEFORE UPDATE ON inputs
    FOR EACH ROW WHEN (NOT (
        NEW.input = '' AND NEW.lane = OLD.lane AND NEW.seq = OLD.seq AND NEW.at = OLD.at
        AND airboss_is_commit_pruned(OLD.lane, OLD.seq)
    )) EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER pruned_stay BEFORE DELETE ON pruned
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER pruned_whole BEFORE TRUNCATE ON pruned
    FOR EACH STATEMENT EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER pruned_unchanged BEFORE UPDATE ON pruned
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER log_hashes_stay BEFORE DELETE ON log_hashes
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER log_hashes_whole BEFORE TRUNCATE ON log_hashes
    FOR EACH STATEMENT EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER log_hashes_unchanged BEFORE UPDATE ON log_hashes
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER log_stays BEFORE DELETE ON log
    FOR EACH ROW WHEN (OLD.size > 0) EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER log_grows BEFORE UPDATE ON log
    FOR EACH ROW WHEN (NEW.size < OLD.size) EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER pruned_to_stays BEFORE DELETE ON pruned_to
    FOR EACH ROW EXECUTE FUNCTION airboss_only_added_to();
CREATE TRIGGER pruned_to_grows BEFORE UPDATE ON pruned_to
    FOR EACH ROW WHEN (NEW.seq < OLD.seq OR NEW.lane <> OLD.lane) EXECUTE FUNCTION airboss_only_added_to();
