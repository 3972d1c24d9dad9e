//! Rows on disk for wallet and broker.
