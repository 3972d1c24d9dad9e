//! Sell, redeem, refuse, audit: decisions over loaded rows (`docs/protocol.md` section 10).
//!
//! Nothing here does IO, reads a clock or draws randomness. A request names the rows it needs
//! (ids are positions in a coin's tree, so they follow from the path alone); [`Broker::decide`]
//! looks at them and returns one [`Change`]: the versions it relied on, the rows to write, the
//! journal lines, and the answer that may be signed and released once the change is durable.
//!
//! | file | what |
//! | --- | --- |
//! | `terms` | what a broker sells and promises |
//! | `rows` | the rows, their keys, a set of loaded rows; `cases`: those about double spends |
//! | `change` | conditions, rows and journal lines, applied to a set of rows |
//! | `desk` | reading rows and moving money while one request is decided |
//! | `signing` | what is hashed and signed in a request and an answer |
//! | `ask`, `answer` | what an account asks and what the broker says, as JSON |
//! | `presented` | a path with what follows it, checked once, before any row is loaded |
//! | `walk` | a presented path from root to leaf against the rows |
//! | `contest` | two statements in one slot: evidence kept, readings taken |
//! | `verdict` | which one stands, and the tree below it built again |
//! | `losses` | who lost by a double spend: suspension and compensation |
//! | `settle` | what is left of a coin when its time is over |
//! | `kept` | an answer as it is kept for when it is asked for again |
//! | `offers` | coins and certificates signed before a decision |
//! | `decide`, `actions` | one request by an account; `operate`: one by the operator |
//! | `audit` | the books, from the journal alone, against the rows |
//! | `spent` | the spent list: chunks, index, and the look-up a payee keeps |

mod actions;
pub mod answer;
pub mod ask;
pub mod audit;
pub mod cases;
pub mod change;
pub mod chunks;
mod contest;
pub mod decide;
mod desk;
mod kept;
mod losses;
mod offers;
pub mod operate;
pub mod presented;
pub mod recover;
pub mod rows;
mod settle;
pub mod signing;
pub mod spent;
pub mod terms;
mod verdict;
mod walk;

#[cfg(test)]
mod tests;

pub use change::{Change, Stale};
pub use decide::{Action, Broker, Call, Caller, Decision, Draft, Sealed};
pub use desk::Stop;
pub use offers::{CoinOffer, KeyOffer};
pub use operate::{Operated, Operation};
pub use presented::{Presented, Tail};
pub use rows::{RowKey, Rows};
pub use terms::Terms;

use crate::bytes_newtype;

bytes_newtype!(
    /// What makes a request about money happen once: drawn by the account, never used again.
    RequestId,
    16
);

bytes_newtype!(
    /// Hash of a request's route and body (`signing::body_hash`).
    BodyHash,
    32
);

bytes_newtype!(
    /// A withdrawal in the operator's queue; follows from the account and the request id.
    WithdrawalId,
    16
);
