-- A holder key that a coin is sold for has no row of its own until something is changed about it: its account
-- and its last day stand in the coin's row, and the key in the coin's certificate (`places`). In the index of
-- holder keys such a place is the coin's row, negative. All coins are indexed by their accounts now, as the
-- keys of settled ones are listed too.
DROP INDEX coin_unsettled;
CREATE INDEX coin_of_account ON coin (settled, expires_day, account);
