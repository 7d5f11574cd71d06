-- Nothing deletes from the log, nothing changes it, but for retention: that notes the hashes of an
-- event's words in `pruned` first, and takes nothing but the words.

CREATE TRIGGER events_stay BEFORE DELETE ON events BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: events are never deleted');
END;
CREATE TRIGGER events_unchanged BEFORE UPDATE ON events
WHEN NOT (
    NEW.message = '' AND NEW.body = '' AND NEW.number = OLD.number AND NEW.lane = OLD.lane
    AND NEW.seq = OLD.seq AND NEW.rollout IS OLD.rollout AND NEW.at = OLD.at AND NEW.kind = OLD.kind
    AND EXISTS (SELECT 1 FROM pruned WHERE pruned.number = OLD.number)
) BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: events are never changed');
END;
CREATE TRIGGER inputs_stay BEFORE DELETE ON inputs BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: inputs of decisions are never deleted');
END;
CREATE TRIGGER inputs_unchanged BEFORE UPDATE ON inputs
WHEN NOT (
    NEW.input = '' AND NEW.lane = OLD.lane AND NEW.seq = OLD.seq AND NEW.at = OLD.at
    AND EXISTS (SELECT 1 FROM pruned_to WHERE pruned_to.lane = OLD.lane AND pruned_to.seq >= OLD.seq)
) BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: inputs of decisions are never changed');
END;
CREATE TRIGGER pruned_stay BEFORE DELETE ON pruned BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: hashes of removed words are never deleted');
END;
CREATE TRIGGER pruned_unchanged BEFORE UPDATE ON pruned BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: hashes of removed words are never changed');
END;
CREATE TRIGGER log_hashes_stay BEFORE DELETE ON log_hashes BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: its hashes are never deleted');
END;
CREATE TRIGGER log_hashes_unchanged BEFORE UPDATE ON log_hashes BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: its hashes are never changed');
END;
CREATE TRIGGER log_stays BEFORE DELETE ON log WHEN OLD.size > 0 BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: its head is never deleted');
END;
CREATE TRIGGER log_grows BEFORE UPDATE ON log WHEN NEW.size < OLD.size BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: it never shrinks');
END;
CREATE TRIGGER pruned_to_stays BEFORE DELETE ON pruned_to BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: what was removed of a lane stays told');
END;
CREATE TRIGGER pruned_to_grows BEFORE UPDATE ON pruned_to WHEN NEW.seq < OLD.seq OR NEW.lane <> OLD.lane BEGIN
    SELECT RAISE(ABORT, 'the log is only added to: what was removed of a lane stays told');
END;
