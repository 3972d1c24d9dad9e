-- Coins and holder keys are numbered as they come. Where each stands is not indexed at once, as the index
-- of a hash takes every new row on another page: see `places`.
CREATE TABLE coin_numbered (
    row INTEGER PRIMARY KEY,
    version BIGINT NOT NULL,
    id BLOB NOT NULL,
    account BLOB NOT NULL,
    value BIGINT NOT NULL,
    credited BIGINT NOT NULL CHECK (credited >= 0 AND credited <= value),
    contests BIGINT NOT NULL,
    settled BIGINT NOT NULL,
    expires_day BIGINT NOT NULL,
    certificate BLOB NOT NULL
);
INSERT INTO coin_numbered
    SELECT rowid, version, id, account, value, credited, contests, settled, expires_day, certificate FROM coin;
DROP TABLE coin;
ALTER TABLE coin_numbered RENAME TO coin;
CREATE INDEX coin_unsettled ON coin (expires_day, account) WHERE settled = 0;
CREATE TABLE holder_numbered (
    row INTEGER PRIMARY KEY,
    version BIGINT NOT NULL,
    holder_key BLOB NOT NULL,
    account BLOB NOT NULL,
    expires_day BIGINT NOT NULL
);
INSERT INTO holder_numbered SELECT rowid, version, holder_key, account, expires_day FROM holder;
DROP TABLE holder;
ALTER TABLE holder_numbered RENAME TO holder;
CREATE INDEX holder_of_account ON holder (account);
-- The first 8 bytes of an id, or a key, and the row.
CREATE TABLE coin_place (
    short BLOB NOT NULL,
    row BIGINT NOT NULL,
    PRIMARY KEY (short, row)
) WITHOUT ROWID;
INSERT INTO coin_place SELECT substr(id, 1, 8), row FROM coin ORDER BY 1, 2;
CREATE TABLE holder_place (
    short BLOB NOT NULL,
    row BIGINT NOT NULL,
    PRIMARY KEY (short, row)
) WITHOUT ROWID;
INSERT INTO holder_place SELECT holder_key, row FROM holder ORDER BY 1, 2;
-- The last rows whose places are above.
CREATE TABLE placed (
    coin BIGINT NOT NULL,
    holder BIGINT NOT NULL
);
INSERT INTO placed VALUES ((SELECT COALESCE(MAX(row), 0) FROM coin), (SELECT COALESCE(MAX(row), 0) FROM holder));
