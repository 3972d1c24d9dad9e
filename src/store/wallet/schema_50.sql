-- When the broker's operator paid it out, as the broker says: noted once.
ALTER TABLE withdrawal ADD COLUMN paid_unix_ms INTEGER;
DROP TRIGGER withdrawal_is_fixed;
CREATE TRIGGER withdrawal_is_fixed BEFORE UPDATE ON withdrawal
WHEN OLD.units IS NOT NEW.units OR OLD.destination IS NOT NEW.destination OR OLD.paid_unix_ms IS NOT NULL
    OR (OLD.state <> 'pending' AND (OLD.state <> 'done' OR NEW.state <> 'done' OR NEW.paid_unix_ms IS NULL
        OR OLD.withdrawal IS NOT NEW.withdrawal OR OLD.answer IS NOT NEW.answer))
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;
