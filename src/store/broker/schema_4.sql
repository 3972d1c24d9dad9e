-- Purchases and withdrawals that an account signed until then are not carried out any more.
ALTER TABLE account ADD COLUMN signed_after BIGINT NOT NULL DEFAULT 0;
