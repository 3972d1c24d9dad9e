//! Proofs of fraud that gateway and watches find: checked, kept as files in the wallet's home, noted in
//! its journal (`docs/protocol.md` sections 4 and 6). `dpay verify-proof` reads such a file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path as FilePath, PathBuf};

use super::CashierError;
use super::handle::WalletHandle;
use super::home::HomeError;
use super::kept::KeptAsk;
use super::purse::{Ask, Outcome, Purse};
use crate::channel::conflict::rival_proof;
use crate::coin::hash::tagged;
use crate::coin::ids::Commitment;
use crate::record::{FraudProof, Item, MAX_LINKS_PROPOSE, Path};
use crate::units::{InfoHash, Units, UnixMs};
use crate::wallet::{Change, JournalKind, JournalLine, WalletError};

/// Directory of the proofs in a wallet's home.
pub const PROOFS_DIR: &str = "proofs";
/// Most proofs kept. Each convicts a key that a broker certified.
const MAX_PROOFS: usize = 10_000;

/// On which side of a channel we were shown a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictRole {
    /// As payer: our own statement may have a rival, if this wallet runs twice.
    Payer,
    /// As payee: what was spent to us may have a rival.
    Payee,
}

/// Where a conflict was seen.
#[derive(Clone, Debug)]
pub struct ConflictSeen {
    /// On which side we were.
    pub role: ConflictRole,
    /// The torrent.
    pub info_hash: Option<InfoHash>,
    /// The peer's address.
    pub peer: Option<String>,
}

impl WalletHandle {
    /// Checks a proof of fraud and keeps it: a file in [`PROOFS_DIR`] and a line in the journal. The
    /// same fraud again changes nothing. Returns the file.
    ///
    /// # Errors
    /// A proof that does not hold, or our own disk.
    pub async fn report_conflict(
        &self,
        proof: Vec<u8>,
        seen: ConflictSeen,
    ) -> Result<PathBuf, CashierError> {
        self.ask(|reply| Ask::Kept(KeptAsk::Conflict(proof, seen, reply)))
            .await?
    }

    /// As [`WalletHandle::report_conflict`], for another item than ours that lies in a slot of a
    /// received spend or of its path.
    ///
    /// # Errors
    /// An unknown spend, an item that is in none of its slots, or our own disk.
    pub async fn report_rival(
        &self,
        spend: Commitment,
        other: Item,
    ) -> Result<PathBuf, CashierError> {
        self.ask(|reply| Ask::Kept(KeptAsk::Rival(spend, Box::new(other), reply)))
            .await?
    }
}

impl Purse {
    pub(super) async fn report_rival(
        &mut self,
        spend: &Commitment,
        other: &Item,
        now: UnixMs,
    ) -> Outcome<PathBuf> {
        let row = self.rows.received.get(spend).cloned();
        let row = row.ok_or(WalletError::UnknownSpend(*spend))?;
        self.contest(&row);
        let bad = |why: &dyn std::fmt::Display| WalletError::BadProof(why.to_string());
        let path = Path::decode(&row.path, MAX_LINKS_PROPOSE).map_err(|e| bad(&e))?;
        let proof = rival_proof(&path, &row.holding, &row.open, other);
        let proof = proof.ok_or_else(|| bad(&"the item is in no slot of the spend"))?;
        let seen = ConflictSeen {
            role: ConflictRole::Payee,
            info_hash: Some(row.info_hash),
            peer: Some(row.peer),
        };
        self.keep_proof(&proof, seen, now).await
    }

    pub(super) async fn report_conflict(
        &mut self,
        proof: &[u8],
        seen: ConflictSeen,
        now: UnixMs,
    ) -> Outcome<PathBuf> {
        let bad = |why: &dyn std::fmt::Display| WalletError::BadProof(why.to_string());
        if self.config.cheat.is_some() && seen.role == ConflictRole::Payer {
            return Err(bad(&"it is our own doing").into());
        }
        let proof = FraudProof::decode(proof).map_err(|e| bad(&e))?;
        self.keep_proof(&proof, seen, now).await
    }

    /// The file is on disk before the line is written, so that no line is without its file; then the
    /// broker is told.
    pub(super) async fn keep_proof(
        &mut self,
        proof: &FraudProof,
        seen: ConflictSeen,
        now: UnixMs,
    ) -> Outcome<PathBuf> {
        let pinned = self.rows.meta.broker.as_ref().map(|broker| broker.key);
        let key = proof
            .verify(&|broker| pinned.as_ref() == Some(broker))
            .map_err(|e| WalletError::BadProof(e.to_string()))?;
        // One file for each key and slot: more rivals prove nothing more.
        let name = tagged("DPay1/proof-file", &[&key.0, &proof.salt().0]);
        let name = format!("{}.proof", hex::encode(&name[..16]));
        let dir = self.config.home.join(PROOFS_DIR);
        let file = dir.join(&name);
        if file.exists() {
            return Ok(file);
        }
        write_proof(&dir, &file, &proof.encode()).map_err(|source| HomeError::Io {
            path: file.clone(),
            source,
        })?;
        tracing::warn!(%key, role = ?seen.role, file = %file.display(), "a proof of fraud is kept");
        let mut change = Change::on(&self.rows);
        change.journal.push(JournalLine {
            at: now,
            kind: JournalKind::ProofFound,
            units: Units::ZERO,
            info_hash: seen.info_hash,
            peer: seen.peer,
            reference: name,
        });
        self.done(Ok(change)).await?;
        self.tell_broker(proof.clone());
        Ok(file)
    }
}

/// Writes a new file, for its owner only, and waits until it is on the disk.
fn write_proof(dir: &FilePath, file: &FilePath, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    if fs::read_dir(dir)?.count() >= MAX_PROOFS {
        return Err(io::Error::other(format!(
            "{MAX_PROOFS} proofs are kept already: move some away"
        )));
    }
    // First under another name, so that a crash leaves no half a proof.
    let part = file.with_extension("part");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(&part)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(&part, file)?;
    fs::File::open(dir)?.sync_all()
}
