//! A path with what follows it, checked once, before any row is loaded.
//!
//! All signatures and hashes are dealt with here; deciding is then a comparison of commitments.

use thiserror::Error;

use super::answer::{Refusal, RefusalCode};
use super::rows::RowKey;
use super::terms::MAX_LINKS;
use crate::coin::certificate::CoinCertificate;
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::record::{
    ClosePart, Holding, Item, Link, LinkFault, OpenSpend, Path, PathError, ProofCertificate,
    RedeemPart, Role, SignedRecord, Slot,
};

/// Bytes of a path without links.
const PATH_BASE: usize = CoinCertificate::SIZE + 1;

/// What is presented about the holding that a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    None,
    /// A spend that is not closed, or not to the presenter's knowledge.
    Open(OpenSpend),
    /// A redeem.
    Redeem(RedeemPart),
}

/// What is wrong with a path or what follows it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PresentedFault {
    /// The path does not prove a holding.
    #[error("the path does not hold: {0}")]
    Path(#[from] PathError),
    /// What follows it is not validly signed by the holder.
    #[error("what follows the path does not hold: {0}")]
    Tail(LinkFault),
    /// The redeem is not validly signed by the holder.
    #[error("the redeem is not signed by the holder of {0}")]
    Redeem(HoldingId),
}

/// One link of a checked path.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) holding: Holding,
    pub(super) parent: Option<HoldingId>,
    pub(super) certificate: ProofCertificate,
    pub(super) spend: OpenSpend,
    pub(super) spend_record: SignedRecord,
    pub(super) close: ClosePart,
    pub(super) close_record: SignedRecord,
}

/// A statement in the spend slot of the holding that the path leads to.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) holding: Holding,
    pub(super) parent: Option<HoldingId>,
    pub(super) certificate: ProofCertificate,
    pub(super) tail: Tail,
    pub(super) record: Option<SignedRecord>,
}

/// A path whose every signature holds, with what follows it. Only [`Presented::check`] makes one.
#[derive(Clone, Debug)]
pub struct Presented {
    coin: CoinCertificate,
    steps: Vec<Step>,
    leaf: Leaf,
    evidence: Vec<u8>,
}

impl Presented {
    /// Checks a path under this broker's coin and what follows it, whatever the date.
    ///
    /// # Errors
    /// [`PresentedFault`]: the first thing that does not hold.
    pub fn check(broker: &PublicKey, path: &Path, tail: Tail) -> Result<Self, PresentedFault> {
        let holding = path.verify(&|key| key == broker, None)?;
        match &tail {
            Tail::None => {}
            Tail::Open(open) => open.verify(&holding).map_err(PresentedFault::Tail)?,
            Tail::Redeem(part) if part.record(&holding).verify() => {}
            Tail::Redeem(_) => return Err(PresentedFault::Redeem(holding.id)),
        }
        Ok(Presented::build(path, tail)?)
    }

    /// What was checked and kept before, by its [`Presented::evidence`]; signatures are not checked
    /// again.
    ///
    /// # Errors
    /// [`PresentedFault`] if these bytes were never evidence.
    pub(super) fn kept(bytes: &[u8]) -> Result<Self, PresentedFault> {
        let wrong_length = PathError::Length { got: bytes.len() };
        let links = bytes.get(CoinCertificate::SIZE).copied().map(usize::from);
        let length = links.and_then(|n| n.checked_mul(Link::SIZE)?.checked_add(PATH_BASE));
        let split = length.and_then(|at| bytes.split_at_checked(at));
        let (path, tail) = split.ok_or(wrong_length)?;
        let path = Path::decode(path, MAX_LINKS)?;
        let fault = PresentedFault::Tail;
        let tail = match tail.split_first().ok_or(wrong_length)? {
            (0, []) => Tail::None,
            (3, open) => Tail::Open(OpenSpend::decode(open).map_err(fault)?),
            (5, part) => Tail::Redeem(RedeemPart::decode(part).map_err(fault)?),
            _ => return Err(wrong_length.into()),
        };
        Ok(Presented::build(&path, tail)?)
    }

    fn build(path: &Path, tail: Tail) -> Result<Self, PathError> {
        let mut certificate = ProofCertificate::Coin(path.coin);
        let mut steps = Vec::with_capacity(path.links.len());
        let mut parent = None;
        let holdings = path.holdings()?;
        for (link, holding) in path.links.iter().zip(&holdings) {
            let [spend_record, close_record] = link.records(holding);
            steps.push(Step {
                holding: *holding,
                parent,
                certificate,
                spend: link.spend,
                spend_record,
                close: link.close,
                close_record,
            });
            parent = Some(holding.id);
            if link.role == Role::PayeeShare {
                certificate = ProofCertificate::Payee(link.spend.payee_certificate);
            }
        }
        let holding = holdings.last().copied();
        let holding = holding.unwrap_or_else(|| Holding::of_coin(&path.coin));
        let record = match &tail {
            Tail::None => None,
            Tail::Open(open) => Some(open.record(&holding)),
            Tail::Redeem(part) => Some(part.record(&holding)),
        };
        let evidence = encode(path, &tail);
        Ok(Presented {
            coin: path.coin,
            steps,
            leaf: Leaf {
                holding,
                parent,
                certificate,
                tail,
                record,
            },
            evidence,
        })
    }

    /// Reads and checks what an account sent.
    ///
    /// # Errors
    /// A refusal that says what does not hold.
    pub fn read(
        broker: &PublicKey,
        path: &[u8],
        tail: impl FnOnce() -> Result<Tail, LinkFault>,
    ) -> Result<Self, Refusal> {
        let invalid = |what: String| {
            Refusal::new(
                RefusalCode::Invalid,
                what,
                "do not present it again; it is not this broker's coin or was changed on the way",
            )
        };
        let path = Path::decode(path, MAX_LINKS).map_err(|e| invalid(e.to_string()))?;
        let tail = tail().map_err(|e| invalid(e.to_string()))?;
        Presented::check(broker, &path, tail).map_err(|e| invalid(e.to_string()))
    }

    /// The holding that the path leads to.
    #[must_use]
    pub fn holding(&self) -> &Holding {
        &self.leaf.holding
    }

    pub(super) fn coin(&self) -> &CoinCertificate {
        &self.coin
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The path's bytes, then a kind byte (0, 3 spend, 5 redeem), then what follows it.
    pub(super) fn evidence(&self) -> &[u8] {
        &self.evidence
    }

    /// The record that it shows in a slot.
    pub(super) fn record_in(&self, slot: &Slot) -> Option<&SignedRecord> {
        let steps = (self.steps.iter()).flat_map(|step| [&step.spend_record, &step.close_record]);
        steps
            .chain(&self.leaf.record)
            .find(|record| record.slot == *slot)
    }

    /// The payee of the spend that it shows in a slot; none: no spend, but a redeem or nothing.
    pub(super) fn payee_in(&self, slot: &Slot) -> Option<PublicKey> {
        let step = self.steps.iter().find(|s| s.spend_record.slot == *slot);
        let here = self.leaf.record.as_ref().filter(|r| r.slot == *slot);
        match (step, here, &self.leaf.tail) {
            (Some(step), _, _) => Some(step.spend.payee),
            (None, Some(_), Tail::Open(open)) => Some(open.payee),
            _ => None,
        }
    }

    /// Whose keys are in it.
    pub(super) fn holder_keys(&self) -> Vec<RowKey> {
        let steps = self.steps.iter();
        let mut keys: Vec<RowKey> = steps
            .flat_map(|step| [step.holding.key, step.spend.payee])
            .map(RowKey::Holder)
            .collect();
        keys.push(RowKey::Holder(self.leaf.holding.key));
        if let Tail::Open(open) = &self.leaf.tail {
            keys.push(RowKey::Holder(open.payee));
        }
        keys
    }

    /// The rows that it is about.
    pub(super) fn keys(&self) -> Vec<RowKey> {
        let mut keys = vec![
            RowKey::Coin(self.leaf.holding.coin),
            RowKey::Holding(self.leaf.holding.id),
            RowKey::Credit(self.leaf.holding.id),
        ];
        for step in &self.steps {
            keys.push(RowKey::Holding(step.holding.id));
            keys.push(RowKey::Spent(step.spend_record.slot));
            keys.push(RowKey::Spent(step.close_record.slot));
        }
        keys.extend(self.leaf.record.iter().map(|r| RowKey::Spent(r.slot)));
        keys
    }
}

fn encode(path: &Path, tail: &Tail) -> Vec<u8> {
    let mut bytes = path.encode();
    match tail {
        Tail::None => bytes.push(0),
        Tail::Open(open) => {
            bytes.push(3);
            bytes.extend_from_slice(&open.encode());
        }
        Tail::Redeem(part) => {
            bytes.push(5);
            bytes.extend_from_slice(&part.encode());
        }
    }
    bytes
}

/// The item of a record's first place, which stands for the record in a proof.
pub(super) fn first_item(record: &SignedRecord) -> Item {
    let [item, _, _] = record.items();
    item
}
