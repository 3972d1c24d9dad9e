-- Nothing that takes money from the account was signed under a later time.
ALTER TABLE meta ADD COLUMN signed_until_unix_ms INTEGER NOT NULL DEFAULT 0;
