//! Certificates, statements, holding ids, hash chains: encode, sign, verify (`docs/protocol.md` sections 2 to 4).
//!
//! Everything here is a pure function of its arguments. Bytes from strangers go through a `decode`
//! that accepts one encoding only, then through a check that names what is wrong.

pub mod certificate;
pub mod chain;
pub mod hash;
pub mod ids;
pub mod keys;
mod reader;
pub mod seed;
pub mod statement;

pub use certificate::{CertificateError, CoinCertificate, PseudonymCertificate};
pub use chain::Chain;
pub use ids::{ChainValue, Commitment, HoldingId, RecordKey};
pub use keys::{KeyFault, PublicKey, SecretKey, Signature};
pub(crate) use reader::Reader;
pub use seed::{Seed, SeedError};
pub use statement::{Close, Redeem, Spend, Statement, StatementError};
