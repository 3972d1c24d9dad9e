CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    version INTEGER NOT NULL,
    next_key INTEGER NOT NULL,
    bought INTEGER NOT NULL,
    earned INTEGER NOT NULL,
    paid INTEGER NOT NULL,
    redeemed INTEGER NOT NULL,
    broker_key BLOB,
    broker_url TEXT,
    account BLOB
) STRICT;
INSERT INTO meta VALUES (1, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL);

CREATE TABLE holding (
    id BLOB PRIMARY KEY,
    value INTEGER NOT NULL,
    holder_key BLOB NOT NULL,
    broker BLOB NOT NULL,
    coin BLOB NOT NULL,
    expires_day INTEGER NOT NULL,
    key_index INTEGER NOT NULL,
    origin TEXT NOT NULL,
    path BLOB NOT NULL,
    passing TEXT NOT NULL,
    since_unix_ms INTEGER NOT NULL,
    info_hash BLOB,
    peer TEXT,
    state TEXT NOT NULL,
    spend BLOB,
    k INTEGER,
    request BLOB,
    at_unix_ms INTEGER,
    pending_until_unix_ms INTEGER,
    why TEXT
) STRICT;

-- One spend per holding, ever: the unique column and the triggers hold even against a wrong program.
CREATE TABLE spend (
    spend BLOB PRIMARY KEY,
    holding BLOB NOT NULL UNIQUE REFERENCES holding (id),
    value INTEGER NOT NULL,
    payee BLOB NOT NULL,
    payee_certificate BLOB NOT NULL,
    anchor BLOB NOT NULL,
    last_k INTEGER NOT NULL,
    info_hash BLOB NOT NULL,
    peer TEXT NOT NULL,
    opened_unix_ms INTEGER NOT NULL,
    ended_unix_ms INTEGER,
    close_k INTEGER,
    close_wk BLOB,
    close_signatures BLOB,
    polled_unix_ms INTEGER,
    presented_unix_ms INTEGER
) STRICT;
CREATE TRIGGER spend_is_fixed BEFORE UPDATE ON spend
WHEN OLD.spend IS NOT NEW.spend OR OLD.holding IS NOT NEW.holding
    OR OLD.payee IS NOT NEW.payee OR OLD.anchor IS NOT NEW.anchor
    OR (OLD.close_k IS NOT NULL AND (OLD.close_k IS NOT NEW.close_k
        OR OLD.close_wk IS NOT NEW.close_wk OR OLD.close_signatures IS NOT NEW.close_signatures))
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;
CREATE TRIGGER spend_is_kept BEFORE DELETE ON spend
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;

CREATE TABLE received (
    spend BLOB PRIMARY KEY,
    holding BLOB NOT NULL UNIQUE,
    value INTEGER NOT NULL,
    holder_key BLOB NOT NULL,
    broker BLOB NOT NULL,
    coin BLOB NOT NULL,
    expires_day INTEGER NOT NULL,
    path BLOB NOT NULL,
    open BLOB NOT NULL,
    key_index INTEGER NOT NULL,
    k INTEGER NOT NULL,
    wk BLOB NOT NULL,
    state TEXT NOT NULL,
    signatures BLOB,
    accepted INTEGER NOT NULL,
    put INTEGER NOT NULL,
    info_hash BLOB NOT NULL,
    peer TEXT NOT NULL,
    opened_unix_ms INTEGER NOT NULL,
    closed_unix_ms INTEGER,
    presented_unix_ms INTEGER
) STRICT;
-- The first open of a holding stays, and a close stays as it was fixed.
CREATE TRIGGER received_is_fixed BEFORE UPDATE ON received
WHEN OLD.spend IS NOT NEW.spend OR OLD.holding IS NOT NEW.holding OR OLD.open IS NOT NEW.open
    OR (OLD.state <> 'open' AND (OLD.k IS NOT NEW.k OR OLD.wk IS NOT NEW.wk OR NEW.state = 'open'))
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;
CREATE TRIGGER received_is_kept BEFORE DELETE ON received
BEGIN SELECT RAISE(ABORT, 'fixed row'); END;

CREATE TABLE payee_key (
    key_index INTEGER PRIMARY KEY,
    certificate BLOB NOT NULL,
    used INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE purchase (
    request BLOB PRIMARY KEY,
    at_unix_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    why TEXT
) STRICT;
CREATE TABLE purchase_coin (
    request BLOB NOT NULL REFERENCES purchase (request),
    position INTEGER NOT NULL,
    value INTEGER NOT NULL,
    key_index INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (request, position)
) STRICT;

CREATE TABLE redemption (
    request BLOB PRIMARY KEY,
    at_unix_ms INTEGER NOT NULL,
    answers BLOB
) STRICT;
CREATE TABLE redemption_holding (
    request BLOB NOT NULL REFERENCES redemption (request),
    position INTEGER NOT NULL,
    holding BLOB NOT NULL UNIQUE REFERENCES holding (id),
    PRIMARY KEY (request, position)
) STRICT;

CREATE TABLE budget (
    info_hash BLOB PRIMARY KEY,
    units INTEGER NOT NULL
) STRICT;

CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_unix_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    units INTEGER NOT NULL,
    info_hash BLOB,
    peer TEXT,
    reference TEXT NOT NULL
) STRICT;
