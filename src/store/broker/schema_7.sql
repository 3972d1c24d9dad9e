-- No entry of the spent list is dated before the one before it, whatever the clock says: what was listed in
-- later hours stays where it is, and readers that have it miss nothing.
DROP TRIGGER spent_made;
DROP TRIGGER spent_replaced;
CREATE TRIGGER spent_made AFTER INSERT ON spent BEGIN
    INSERT INTO spent_log (slot, c, at)
    VALUES (new.slot, new.c, MAX(new.at, (SELECT COALESCE(MAX(at), 0) FROM spent_log)));
END;
CREATE TRIGGER spent_replaced AFTER UPDATE ON spent BEGIN
    INSERT INTO spent_log (slot, c, at)
    VALUES (new.slot, new.c, MAX(new.at, (SELECT COALESCE(MAX(at), 0) FROM spent_log)));
END;
