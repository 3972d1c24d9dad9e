//! Sell, redeem, refuse, settle, audit: decisions over loaded rows (`docs/protocol.md` section 10).
