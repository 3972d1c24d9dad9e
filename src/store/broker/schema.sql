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
    suspended BIGINT NOT NULL,
    last_redeemed BIGINT NOT NULL
);
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
    expires_day BIGINT NOT NULL,
    certificate BLOB NOT NULL
);
CREATE INDEX coin_of_account ON coin (account);
CREATE TABLE holding (
    id BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    coin BLOB NOT NULL,
    value BIGINT NOT NULL,
    holder_key BLOB NOT NULL,
    certificate BLOB NOT NULL,
    since BIGINT NOT NULL,
    conflicts BIGINT NOT NULL,
    state TEXT NOT NULL,
    c BLOB NOT NULL,
    statement BLOB NOT NULL,
    close_c BLOB,
    close_part BLOB,
    k BIGINT,
    closed BIGINT,
    account BLOB
);
CREATE INDEX holding_of_coin ON holding (coin);
CREATE TABLE credit (
    holding BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    coin BLOB NOT NULL,
    account BLOB NOT NULL,
    units BIGINT NOT NULL CHECK (units > 0),
    pending_until BIGINT NOT NULL,
    paid BIGINT NOT NULL
);
CREATE INDEX credit_pending ON credit (account, paid, pending_until);
CREATE TABLE conflict (
    holding BLOB NOT NULL,
    c BLOB NOT NULL,
    version BIGINT NOT NULL,
    presenter BLOB NOT NULL,
    at BIGINT NOT NULL,
    evidence BLOB NOT NULL,
    PRIMARY KEY (holding, c)
);
CREATE TABLE spent (
    slot BLOB PRIMARY KEY NOT NULL,
    version BIGINT NOT NULL,
    c BLOB NOT NULL,
    at BIGINT NOT NULL
);
CREATE INDEX spent_at ON spent (at);
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
