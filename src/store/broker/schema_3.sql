-- One index for what is looked for among coins, by expiry and by account: coins that are sold together
-- stand side by side in it, where those by id were spread over all of it.
DROP INDEX coin_of_account;
DROP INDEX coin_to_settle;
CREATE INDEX coin_unsettled ON coin (expires_day, account) WHERE settled = 0;
