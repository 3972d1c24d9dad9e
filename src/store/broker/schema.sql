-- The broker's rows and journal. Amounts in units, times in unix milliseconds, flags as BIGINT.
-- Every mutable row carries the number of its writes: an update names the one it was decided on.
CREATE TABLE broker_meta (
    name TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
);
CREATE TABLE account (
    id BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    balance BIGINT NOT NULL CHECK (balance >= 0),
    pending BIGINT NOT NULL CHECK (pending >= 0),
    bond BIGINT NOT NULL CHECK (bond >= 0),
    outstanding BIGINT NOT NULL CHECK (outstanding >= 0),
    suspended BIGINT,
    withheld BIGINT NOT NULL,
    last_redeemed BIGINT NOT NULL,
    contests BIGINT NOT NULL,
    owed BIGINT NOT NULL CHECK (owed >= 0),
    losses BIGINT NOT NULL,
    losses_paid BIGINT NOT NULL,
    notices BIGINT NOT NULL
);
CREATE INDEX account_suspended ON account (withheld) WHERE suspended IS NOT NULL;
CREATE TABLE holder (
    holder_key BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    account BLOB NOT NULL,
    expires_day BIGINT NOT NULL
);
CREATE INDEX holder_of_account ON holder (account);
CREATE TABLE coin (
    id BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    account BLOB NOT NULL,
    value BIGINT NOT NULL,
    credited BIGINT NOT NULL CHECK (credited >= 0 AND credited <= value),
    contests BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    expires_day BIGINT NOT NULL,
    certificate BLOB NOT NULL
);
CREATE INDEX coin_of_account ON coin (account, id);
CREATE INDEX coin_to_settle ON coin (expires_day, id) WHERE settled = 0;
CREATE TABLE holding (
    id BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    coin BLOB NOT NULL,
    parent BLOB,
    value BIGINT NOT NULL,
    holder_key BLOB NOT NULL,
    payee_key BLOB,
    certificate BLOB NOT NULL,
    since BIGINT NOT NULL,
    contested BLOB,
    state TEXT NOT NULL,
    c BLOB,
    statement BLOB,
    close_c BLOB,
    close_part BLOB,
    k BIGINT,
    closed BIGINT,
    account BLOB
);
CREATE INDEX holding_of_holder ON holding (holder_key, id);
CREATE INDEX holding_of_payee ON holding (payee_key, id) WHERE payee_key IS NOT NULL;
CREATE TABLE credit (
    holding BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    coin BLOB NOT NULL,
    account BLOB NOT NULL,
    units BIGINT NOT NULL CHECK (units > 0),
    pending_until BIGINT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX credit_pending ON credit (account, pending_until) WHERE state = 'pending';
CREATE INDEX credit_ripe ON credit (pending_until) WHERE state = 'pending';
CREATE TABLE contest (
    slot BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    holding BLOB NOT NULL,
    coin BLOB NOT NULL,
    signer BLOB NOT NULL,
    offender BLOB NOT NULL,
    late BIGINT NOT NULL,
    opened BIGINT NOT NULL,
    evidence BIGINT NOT NULL,
    due BIGINT NOT NULL,
    is_open BIGINT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX contest_due ON contest (due) WHERE is_open = 1;
CREATE TABLE evidence (
    slot BLOB NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    c BLOB,
    presenter BLOB NOT NULL,
    at BIGINT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (slot, number)
);
CREATE TABLE proof (
    signer BLOB NOT NULL,
    salt BLOB NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    proof BLOB NOT NULL,
    PRIMARY KEY (signer, salt)
);
CREATE TABLE loss (
    offender BLOB NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    loser BLOB NOT NULL,
    holding BLOB NOT NULL,
    units BIGINT NOT NULL CHECK (units > 0),
    paid BIGINT NOT NULL CHECK (paid >= 0 AND paid <= units),
    PRIMARY KEY (offender, number)
);
CREATE TABLE notice (
    account BLOB NOT NULL,
    number BIGINT NOT NULL,
    version BIGINT NOT NULL,
    at BIGINT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (account, number)
);
CREATE TABLE spent (
    slot BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    c BLOB NOT NULL,
    at BIGINT NOT NULL
);
-- What the spent list shows: every entry ever, so that a chunk only grows.
CREATE TABLE spent_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    slot BLOB NOT NULL,
    c BLOB NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX spent_log_at ON spent_log (at);
CREATE TRIGGER spent_made AFTER INSERT ON spent BEGIN
    INSERT INTO spent_log (slot, c, at) VALUES (new.slot, new.c, new.at);
END;
CREATE TRIGGER spent_replaced AFTER UPDATE ON spent BEGIN
    INSERT INTO spent_log (slot, c, at) VALUES (new.slot, new.c, new.at);
END;
CREATE TABLE deposit (
    reference TEXT PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    account BLOB NOT NULL,
    units BIGINT NOT NULL CHECK (units > 0),
    at BIGINT NOT NULL
);
CREATE TABLE withdrawal (
    id BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    account BLOB NOT NULL,
    units BIGINT NOT NULL CHECK (units > 0),
    destination TEXT NOT NULL,
    requested BIGINT NOT NULL,
    paid BIGINT
);
CREATE TABLE request (
    account BLOB NOT NULL,
    id BLOB NOT NULL,
    version BIGINT NOT NULL,
    body BLOB NOT NULL,
    answer BLOB NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (account, id)
);
CREATE TABLE journal (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    from_ledger TEXT NOT NULL,
    from_account BLOB,
    to_ledger TEXT NOT NULL,
    to_account BLOB,
    units BIGINT NOT NULL CHECK (units > 0),
    reference TEXT NOT NULL
);
