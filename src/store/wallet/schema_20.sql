-- Made from words or from a backup: the broker is asked for what is missing.
ALTER TABLE meta ADD COLUMN needs_recovery INTEGER NOT NULL DEFAULT 0;
-- The last of the broker's notices that is in the journal.
ALTER TABLE meta ADD COLUMN last_notice INTEGER NOT NULL DEFAULT 0;
