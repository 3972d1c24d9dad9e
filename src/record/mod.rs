//! A statement as a BEP 44 item: slot, encryption, commitment, paths, proofs, and the verdict on what a slot holds (`docs/protocol.md` sections 4 and 6).
//!
//! A record is one statement, sealed into a value that three places of the DHT may hold. Ids,
//! plaintexts, values and salts are always computed again here; what a stranger sends is keys,
//! chain values and signatures.

pub mod found;
pub mod item;
pub mod link;
pub mod parts;
pub mod path;
pub mod proof;
pub mod slot;
pub mod value;
pub mod verdict;

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod path_tests;

pub use found::{FoundClose, find_close};
pub use item::{Item, SEQ, SignedRecord};
pub use link::{Link, LinkFault, Role};
pub use parts::{ClosePart, OpenSpend, RedeemPart};
pub use path::{Holding, MAX_LINKS_PROPOSE, MAX_LINKS_REDEEM, Path, PathCache, PathError};
pub use proof::{FraudProof, ProofCertificate, ProofError};
pub use slot::{PLACES, Salt, Slot, Target};
pub use value::{OpenError, Value, close_record_key, commitment, open, open_plaintext, seal};
pub use verdict::{Doubt, PlaceReading, Verdict, judge};
