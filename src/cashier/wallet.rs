//! A wallet in use: its home, its seed, and the one task that owns its money
//! (`docs/protocol.md` sections 5 and 11).
//!
//! | file | what |
//! | --- | --- |
//! | `open` | making a wallet, opening it to write or to read |
//! | `home` | the directory, readable by its owner only; the seed file in it |
//! | `handle` | [`WalletHandle`]: what the gateway and the commands call |
//! | `purse` | the task: one message after another, decide, write, release |
//! | `reserving`, `spending` | a holding for a channel; its one spend |
//! | `reader`, `reading`, `slots` | reading slots before anything of an earlier run is signed for |
//! | `redeeming` | what may be redeemed, and what waits for a reading |
//! | `withdrawing` | money out of the account at the broker |
//! | `watch` | the spent list, notices of the broker, proofs of fraud |
//! | `sealed` | bytes under a passphrase |
//! | `recovery` | asking the broker for what words or a backup do not tell |
//! | `backup` | the wallet as one encrypted file |
//! | `hope` | how often it is looked whether money came |
//! | `errands`, `sending`, `answers` | what the task asks of the broker in the background, and hears |
//! | `waiting` | who waits for its answers, and what waits by itself |
//! | `door` | the broker as the wallet sees it |
//! | `counter` | the broker over HTTP |
//! | `kept` | channels that outlive their connection |
//! | `proofs` | proofs of fraud: checked and kept |
//! | `checks` | what the spent list says about a path |
//! | `cheat` | a payer that cheats, for `dpay demo --cheat` |
//! | `keeper`, `keeping`, `chores` | the wallet's promises kept by themselves: in the DHT, and at the broker |

mod ahead;
mod answers;
pub mod backup;
pub mod cheat;
pub mod checks;
mod chores;
pub mod counter;
pub mod door;
mod errands;
pub mod handle;
pub mod home;
mod hope;
pub mod keeper;
mod keeping;
mod kept;
pub mod open;
mod presenting;
mod proofs;
mod purse;
mod reader;
mod reading;
mod recovery;
mod redeeming;
mod reserving;
mod sealed;
mod sending;
pub mod slots;
mod spending;
pub mod told;
mod waiting;
pub mod watch;
mod withdrawing;

use thiserror::Error;

use crate::coin::ids::Commitment;
use crate::store::wallet::StoreError;
use crate::wallet::WalletError;

pub use cheat::{Cheat, SpentTo, Trick, Tried};
pub use checks::{SpentCheck, SpentCopy};
pub use chores::{Chore, Done, PresentReport};
pub use door::{Account, BrokerDoor, DoorError, Queued, RedeemAnswer, Shown};
pub use handle::WalletHandle;
pub use home::{HomeError, Passphrase};
pub use keeper::{Keeper, Round};
pub use kept::ClosedSpend;
pub use open::{Wallet, WalletConfig, WalletReader};
pub use proofs::{ConflictRole, ConflictSeen, PROOFS_DIR};
pub use slots::{Reading, SlotReader};
pub use told::{Bought, OpenChannels, OpenReceived, OpenSpent, RedeemReport, ReserveRequest};
pub use withdrawing::WithdrawReport;

/// Why the cashier did not do what was asked.
#[derive(Debug, Error)]
pub enum CashierError {
    /// The wallet's rules say no, or a peer or the broker broke them.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// Our own store: nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The home directory or the seed file.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The broker did not do it.
    #[error(transparent)]
    Broker(#[from] DoorError),
    /// Words that make no seed.
    #[error("these are not the words of a wallet: {0}")]
    Words(crate::coin::SeedError),
    /// Nobody said where the broker is.
    #[error("this wallet has no broker yet: name one with --broker URL")]
    NoBroker,
    /// Our slot could not be read, or holds what is not ours: signing could make a proof of fraud.
    #[error(
        "the close of spend {0} is not signed: it is of an earlier run, and its slot in the DHT could \
         not be read yet or holds another statement"
    )]
    Unread(Commitment),
    /// The slot of a holding could not be read in time: signing could make a proof of fraud.
    #[error(
        "holding {0} is not spent: it is of an earlier run, and its slot in the DHT could not be read yet"
    )]
    NotRead(crate::coin::HoldingId),
    /// A slot is read against a spent list that is a minute old at most, and the broker gives no new one.
    #[error(
        "holding {0} is not spent: it is of an earlier run, and the broker's spent list is more than a \
         minute old; it waits until the broker answers"
    )]
    ListOld(crate::coin::HoldingId),
    /// More is to be bought than can be.
    #[error(
        "{asked:#} cannot be bought: the balance at the broker buys {buyable} now; deposit there first"
    )]
    Short {
        /// What the coins are worth that were asked for.
        asked: crate::units::Units,
        /// What there is for coins, after bond and limits.
        buyable: crate::units::Units,
    },
    /// No certified payee key is at hand.
    #[error("no payee key certified by the broker is at hand yet")]
    NoKey,
    /// The wallet was closed.
    #[error("the wallet is closed")]
    Closed,
}
