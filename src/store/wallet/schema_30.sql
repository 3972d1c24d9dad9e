-- Nothing is bought by itself: who has this wallet is leaving.
ALTER TABLE meta ADD COLUMN buys_nothing INTEGER NOT NULL DEFAULT 0;

CREATE TABLE withdrawal (
    request BLOB PRIMARY KEY,
    units INTEGER NOT NULL,
    destination TEXT NOT NULL,
    bond INTEGER NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    withdrawal TEXT,
    answer BLOB,
    why TEXT
) STRICT;
-- What was asked for stays as it was fixed, and so does an answer.
CREATE TRIGGER withdrawal_is_fixed BEFORE UPDATE ON withdrawal
WHEN OLD.units IS NOT NEW.units OR OLD.destination IS NOT NEW.destination OR OLD.state <> 'pending'
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;
CREATE TRIGGER withdrawal_is_kept BEFORE DELETE ON withdrawal
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;
