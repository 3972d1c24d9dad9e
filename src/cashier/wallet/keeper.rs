//! The keeper: does in the DHT what a wallet has promised, by itself (`docs/protocol.md` sections 5
//! and 6). What goes to the broker the wallet's own task does.

use std::time::Duration;

use futures::StreamExt;

use super::handle::WalletHandle;
use super::{CashierError, Chore, Done};
use crate::coin::Commitment;
use crate::dht::{DhtNode, Places};
use crate::record::{FoundClose, SignedRecord, Slot, Verdict, find_close};

/// How often the keeper looks whether something is due.
const LOOK: Duration = Duration::from_secs(5);
/// Chores at once. The DHT's clients let no more of their operations run than they stand.
const AT_ONCE: usize = 4;
/// A chore that takes longer is given up and comes again.
const CHORE_LIMIT: Duration = Duration::from_secs(120);

/// Keeps a wallet's promises until dropped.
#[derive(Debug)]
pub struct Keeper {
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What one round came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Round {
    /// Chores done.
    pub chores: usize,
    /// Closes of our spends that were found.
    pub closes_found: usize,
    /// Other signed items that were found beside records.
    pub rivals: usize,
    /// What could not be done, and why.
    pub errors: Vec<String>,
}

impl Keeper {
    /// Starts keeping.
    #[must_use]
    pub fn start(wallet: WalletHandle, dht: DhtNode) -> Keeper {
        let task = tokio::spawn(async move {
            loop {
                match round(&wallet, &dht, false).await {
                    Ok(done) => {
                        for error in done.errors {
                            tracing::warn!("a promise could not be kept yet: {error}");
                        }
                    }
                    Err(_closed) => return,
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Keeper { task }
    }
}

/// Does what is due; with `all`, also what would be due only later, and reads back at once what was
/// found.
///
/// # Errors
/// Only a closed wallet; what fails is told in [`Round::errors`] and comes again.
pub async fn round(wallet: &WalletHandle, dht: &DhtNode, all: bool) -> Result<Round, CashierError> {
    let mut told = Round::default();
    let chores = wallet.chores(all).await?;
    run(wallet, dht, chores, &mut told).await;
    if all && told.closes_found > 0 {
        let mut found = wallet.chores(true).await?;
        found.retain(|chore| matches!(chore, Chore::ReadBack { .. }));
        run(wallet, dht, found, &mut told).await;
    }
    Ok(told)
}

async fn run(wallet: &WalletHandle, dht: &DhtNode, chores: Vec<Chore>, told: &mut Round) {
    let work = chores.into_iter().map(|chore| async move {
        let done = tokio::time::timeout(CHORE_LIMIT, carry_out(dht, chore)).await;
        let Ok(done) = done else {
            return (false, Err("the DHT does not answer".to_owned()));
        };
        let is_rival = matches!(done, Done::Rival(..));
        let noted = wallet.chore_done(done).await;
        (is_rival, noted.map_err(|error| error.to_string()))
    });
    let mut work = futures::stream::iter(work).buffer_unordered(AT_ONCE);
    while let Some((is_rival, noted)) = work.next().await {
        told.chores = told.chores.saturating_add(1);
        told.rivals = told.rivals.saturating_add(usize::from(is_rival));
        match noted {
            Ok(found) => told.closes_found = told.closes_found.saturating_add(usize::from(found)),
            Err(error) => told.errors.push(error),
        }
    }
}

async fn carry_out(dht: &DhtNode, chore: Chore) -> Done {
    match chore {
        Chore::FindClose {
            spend,
            holding,
            open,
            asks_broker,
        } => {
            let slot = Slot::close(&holding, &spend);
            let read = dht.read_slot(&open.payee, &slot).await;
            let places = read
                .places
                .map(|place| place.items.into_iter().map(|(item, _)| item).collect());
            match find_close(&holding, &open, &places) {
                FoundClose::Close(close) => Done::CloseFound(spend, close),
                FoundClose::Two(items) => Done::Rival(spend, items),
                FoundClose::None => Done::NoClose(spend, asks_broker),
            }
        }
        Chore::ReadBack { spend, record } => published(dht, spend, *record, Done::ReadBack).await,
        Chore::PutClose { spend, record } => published(dht, spend, *record, Done::ClosePut).await,
        Chore::PutAgain {
            spend,
            records,
            place,
        } => match dht.check_again(&records, Places::One(place)).await.conflict {
            Some(items) => Done::Rival(spend, Box::new(items)),
            None => Done::PutAgain(spend),
        },
    }
}

/// Puts a close where it is thin and reads it back.
async fn published(
    dht: &DhtNode,
    spend: Commitment,
    record: SignedRecord,
    done: impl FnOnce(Commitment, bool) -> Done,
) -> Done {
    let outcome = dht.publish(record).await;
    match outcome.conflict {
        Some(items) => Done::Rival(spend, Box::new(items)),
        None => done(spend, matches!(outcome.verdict, Verdict::Accepted)),
    }
}
