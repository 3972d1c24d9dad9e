//! What the wallet has to do by itself, as values: chores in the DHT, what came of them, and what the
//! keeper and the commands ask of the purse about them.

use tokio::sync::oneshot;

use super::CashierError;
use super::told::RedeemReport;
use crate::coin::ids::{Commitment, HoldingId};
use crate::record::{ClosePart, Item, OpenSpend, SignedRecord};
use crate::units::UnixMs;
use crate::wallet::keeping::Rules;
use crate::wallet::receipt::Receipt;

/// One thing to do in the DHT, with all that it takes.
#[derive(Clone, Debug)]
pub enum Chore {
    /// Look for the close of `open`, a spend of `holding` that is ours.
    FindClose {
        /// The spend.
        spend: Commitment,
        /// What it spends.
        holding: HoldingId,
        /// The spend as it was sent.
        open: Box<OpenSpend>,
        /// Whether to ask the broker where the DHT has none.
        asks_broker: bool,
    },
    /// Read the close of a spend of ours back, and put it where it is thin.
    ReadBack {
        /// The spend.
        spend: Commitment,
        /// The close.
        record: Box<SignedRecord>,
    },
    /// Put the close of a received spend and read it back.
    PutClose {
        /// The spend.
        spend: Commitment,
        /// The close.
        record: Box<SignedRecord>,
    },
    /// Read one place of these records and put them again.
    PutAgain {
        /// The spend.
        spend: Commitment,
        /// The spend, all of its path, the close.
        records: Vec<SignedRecord>,
        /// The place.
        place: u8,
    },
}

/// What came of a chore.
#[derive(Clone, Debug)]
pub enum Done {
    /// The close was found; it is checked before it is believed.
    CloseFound(Commitment, Box<ClosePart>),
    /// There is none in the DHT; whether to ask the broker.
    NoClose(Commitment, bool),
    /// Whether the close was read back.
    ReadBack(Commitment, bool),
    /// Whether the close lies in the DHT.
    ClosePut(Commitment, bool),
    /// Its records were put again.
    PutAgain(Commitment),
    /// Another signed item lies where a record of ours or of a path of ours should: a double spend.
    Rival(Commitment, Box<(Item, Item)>),
}

/// What presenting came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PresentReport {
    /// Paths that the broker took.
    pub taken: usize,
    /// Why it did not take others.
    pub refused: Vec<String>,
    /// When the last of those that it compares with another statement may be decided.
    pub contested: Option<UnixMs>,
}

/// What can be asked of the purse about its promises.
pub(super) enum Keep {
    Chores(bool, oneshot::Sender<Vec<Chore>>),
    /// The answer says whether a close came of it.
    Done(Done, oneshot::Sender<Result<bool, CashierError>>),
    Meet(oneshot::Sender<Result<(), CashierError>>),
    Present(oneshot::Sender<Result<PresentReport, CashierError>>),
    /// What is redeemed without being asked for from now on.
    By(Rules, oneshot::Sender<()>),
    RedeemDue(Rules, oneshot::Sender<Result<RedeemReport, CashierError>>),
    Receipts(String, oneshot::Sender<Result<Vec<Receipt>, CashierError>>),
}
