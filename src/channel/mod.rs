//! Paying per piece, both sides: `payer` and `payee` (`docs/protocol.md` sections 3, 7 and 8).
