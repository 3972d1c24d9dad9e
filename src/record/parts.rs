//! What is handed over of a spend, a close, a redeem: the part that cannot be computed
//! (`docs/protocol.md` section 4).

use super::item::SignedRecord;
use super::link::LinkFault;
use super::path::Holding;
use super::slot::{PLACES, Slot};
use super::value::{commitment, seal};
use crate::coin::chain::leads_to;
use crate::coin::statement::{Close, Redeem, Spend, Statement};
use crate::coin::{
    CertificateError, ChainValue, Commitment, HoldingId, PseudonymCertificate, PublicKey, Reader,
    RecordKey, SecretKey, Signature,
};

/// Three signatures, one for each place.
type Signatures = [Signature; PLACES];

/// A spend as it is handed over: what a payer sends and what a link starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpenSpend {
    /// The payee's holder key.
    pub payee: PublicKey,
    /// w0 of the chain that pays.
    pub anchor: ChainValue,
    /// What opens the record: any 32 bytes.
    pub record_key: RecordKey,
    /// The holder's signatures, one for each place.
    pub signatures: Signatures,
    /// The broker's word for the payee's key.
    pub payee_certificate: PseudonymCertificate,
}

impl OpenSpend {
    /// Bytes of the encoding.
    pub const SIZE: usize = 422;

    /// Spends `holding` to the key that `payee_certificate` names. **Once for each holding, ever:**
    /// the choice must be durable before.
    #[must_use]
    pub fn sign(
        holder: &SecretKey,
        holding: &HoldingId,
        payee_certificate: PseudonymCertificate,
        anchor: ChainValue,
        record_key: RecordKey,
    ) -> OpenSpend {
        let payee = payee_certificate.holder;
        let statement = Statement::Spend(Spend {
            holding: *holding,
            payee,
            anchor,
        });
        let record = SignedRecord::sign(holder, Slot::spend(holding), &record_key, &statement);
        OpenSpend {
            payee,
            anchor,
            record_key,
            signatures: record.signatures,
            payee_certificate,
        }
    }

    /// The statement that this is about `holding`.
    #[must_use]
    pub fn statement(&self, holding: &HoldingId) -> Statement {
        Statement::Spend(Spend {
            holding: *holding,
            payee: self.payee,
            anchor: self.anchor,
        })
    }

    /// c of the spend of `holding`.
    #[must_use]
    pub fn commitment(&self, holding: &HoldingId) -> Commitment {
        commitment(&self.record_key, &self.statement(holding).encode())
    }

    /// The record as it lies in the DHT. Its signatures are not checked here.
    #[must_use]
    pub fn record(&self, holding: &Holding) -> SignedRecord {
        SignedRecord {
            signer: holding.key,
            slot: Slot::spend(&holding.id),
            value: seal(&self.record_key, &self.statement(&holding.id).encode()),
            signatures: self.signatures,
        }
    }

    /// Whether this spends `holding` validly. The date of the payee's certificate is left to whoever
    /// signs to it or is paid with it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, holding: &Holding) -> Result<(), LinkFault> {
        self.check_payee(&holding.broker)?;
        self.check_signatures(holding)
    }

    /// The payee's key and its certificate, which must be of the coin's broker.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_payee(&self, broker: &PublicKey) -> Result<(), LinkFault> {
        let certificate = &self.payee_certificate;
        self.payee.check().map_err(LinkFault::PayeeKey)?;
        if certificate.holder != self.payee {
            return Err(LinkFault::CertificateOfAnotherKey(certificate.holder));
        }
        if certificate.broker != *broker {
            return Err(LinkFault::CertificateOfAnotherBroker(certificate.broker));
        }
        if !certificate.verify() {
            return Err(LinkFault::Certificate(CertificateError::Signature));
        }
        Ok(())
    }

    pub(super) fn check_signatures(&self, holding: &Holding) -> Result<(), LinkFault> {
        match self.record(holding).first_bad_place() {
            Some(place) => Err(LinkFault::SpendSignature(place)),
            None => Ok(()),
        }
    }

    /// The 422 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..32].copy_from_slice(&self.payee.0);
        out[32..64].copy_from_slice(&self.anchor.0);
        out[64..96].copy_from_slice(&self.record_key.0);
        out[96..288].copy_from_slice(&join_signatures(&self.signatures));
        out[288..].copy_from_slice(&self.payee_certificate.encode());
        out
    }

    /// Reads an open spend. Nothing in it is checked but the form of the certificate (and, where that
    /// is wrong, the key before it, so that the first fault is the one named).
    ///
    /// # Errors
    /// A wrong length, or what is wrong with the certificate's form.
    pub fn decode(bytes: &[u8]) -> Result<OpenSpend, LinkFault> {
        let read = || {
            let mut reader = reader_of(bytes, Self::SIZE)?;
            let payee = PublicKey(reader.array()?);
            let anchor = ChainValue(reader.array()?);
            let record_key = RecordKey(reader.array()?);
            let signatures = read_signatures(&mut reader)?;
            let certificate = reader.slice(PseudonymCertificate::SIZE)?;
            Some((payee, anchor, record_key, signatures, certificate))
        };
        let (payee, anchor, record_key, signatures, certificate) =
            read().ok_or(wrong_length(bytes, Self::SIZE))?;
        let payee_certificate =
            PseudonymCertificate::decode(certificate).map_err(|fault| match payee.check() {
                Err(key) => LinkFault::PayeeKey(key),
                Ok(()) => LinkFault::Certificate(fault),
            })?;
        Ok(OpenSpend {
            payee,
            anchor,
            record_key,
            signatures,
            payee_certificate,
        })
    }
}

/// A close as it is handed over: what a payee answers and what a link ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClosePart {
    /// Units ticked.
    pub k: u32,
    /// w(k); the anchor where k = 0.
    pub wk: ChainValue,
    /// The payee's signatures, one for each place.
    pub signatures: Signatures,
}

impl ClosePart {
    /// Bytes of the encoding.
    pub const SIZE: usize = 228;

    /// Closes `open`, a spend of `holding`, at `k` units. **Once for each spend, ever:** k and wk
    /// must be durable before.
    #[must_use]
    pub fn sign(
        payee: &SecretKey,
        holding: &HoldingId,
        open: &OpenSpend,
        k: u32,
        wk: ChainValue,
    ) -> ClosePart {
        let spend = open.commitment(holding);
        let record = SignedRecord::sign(
            payee,
            Slot::close(holding, &spend),
            &open.record_key.of_close(&spend),
            &Statement::Close(Close { spend, k, wk }),
        );
        ClosePart {
            k,
            wk,
            signatures: record.signatures,
        }
    }

    /// The statement that this is about the spend with the commitment `spend`.
    #[must_use]
    pub fn statement(&self, spend: &Commitment) -> Statement {
        Statement::Close(Close {
            spend: *spend,
            k: self.k,
            wk: self.wk,
        })
    }

    /// The record as it lies in the DHT, for `open`, a spend of `holding`. Its signatures are not
    /// checked here.
    #[must_use]
    pub fn record(&self, holding: &HoldingId, open: &OpenSpend) -> SignedRecord {
        let spend = open.commitment(holding);
        let key = open.record_key.of_close(&spend);
        SignedRecord {
            signer: open.payee,
            slot: Slot::close(holding, &spend),
            value: seal(&key, &self.statement(&spend).encode()),
            signatures: self.signatures,
        }
    }

    /// Whether this closes `open`, a valid spend of `holding`, validly. k = 0 (a refusal) is valid.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(&self, holding: &Holding, open: &OpenSpend) -> Result<(), LinkFault> {
        self.check_units(holding)?;
        self.check_signatures(holding, open)?;
        self.check_chain(open)
    }

    pub(super) fn check_units(&self, holding: &Holding) -> Result<(), LinkFault> {
        if u64::from(self.k) > holding.value.0 {
            return Err(LinkFault::AboveValue {
                k: self.k,
                value: holding.value,
            });
        }
        Ok(())
    }

    pub(super) fn check_signatures(
        &self,
        holding: &Holding,
        open: &OpenSpend,
    ) -> Result<(), LinkFault> {
        match self.record(&holding.id, open).first_bad_place() {
            Some(place) => Err(LinkFault::CloseSignature(place)),
            None => Ok(()),
        }
    }

    /// Costs k hashes: only after `check_units` and the signatures.
    pub(super) fn check_chain(&self, open: &OpenSpend) -> Result<(), LinkFault> {
        if leads_to(&self.wk, self.k, &open.anchor) {
            Ok(())
        } else {
            Err(LinkFault::Chain)
        }
    }

    /// The 228 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..4].copy_from_slice(&self.k.to_be_bytes());
        out[4..36].copy_from_slice(&self.wk.0);
        out[36..].copy_from_slice(&join_signatures(&self.signatures));
        out
    }

    /// Reads a close; nothing in it is checked.
    ///
    /// # Errors
    /// [`LinkFault::Length`] unless there are 228 bytes.
    pub fn decode(bytes: &[u8]) -> Result<ClosePart, LinkFault> {
        let read = || {
            let mut reader = reader_of(bytes, Self::SIZE)?;
            Some(ClosePart {
                k: reader.u32()?,
                wk: ChainValue(reader.array()?),
                signatures: read_signatures(&mut reader)?,
            })
        };
        read().ok_or(wrong_length(bytes, Self::SIZE))
    }
}

/// A redeem as it is given to the broker, with the path that proves the holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RedeemPart {
    /// The account that is credited.
    pub account: PublicKey,
    /// What opens the record: any 32 bytes.
    pub record_key: RecordKey,
    /// The holder's signatures, over the salts of the holding's spend slot.
    pub signatures: Signatures,
}

impl RedeemPart {
    /// Bytes of the encoding.
    pub const SIZE: usize = 256;

    /// Redeems `holding` for `account`. It shares the slot of the spend: **once for each holding,
    /// ever, and never beside a spend.**
    #[must_use]
    pub fn sign(
        holder: &SecretKey,
        holding: &HoldingId,
        account: PublicKey,
        record_key: RecordKey,
    ) -> RedeemPart {
        let statement = Statement::Redeem(Redeem {
            holding: *holding,
            account,
        });
        let record = SignedRecord::sign(holder, Slot::spend(holding), &record_key, &statement);
        RedeemPart {
            account,
            record_key,
            signatures: record.signatures,
        }
    }

    /// The statement that this is about `holding`.
    #[must_use]
    pub fn statement(&self, holding: &HoldingId) -> Statement {
        Statement::Redeem(Redeem {
            holding: *holding,
            account: self.account,
        })
    }

    /// c of the redeem of `holding`.
    #[must_use]
    pub fn commitment(&self, holding: &HoldingId) -> Commitment {
        commitment(&self.record_key, &self.statement(holding).encode())
    }

    /// The redeem in the form of a record. It is not put; as a second item of a spend slot it proves
    /// a double spend all the same.
    #[must_use]
    pub fn record(&self, holding: &Holding) -> SignedRecord {
        SignedRecord {
            signer: holding.key,
            slot: Slot::spend(&holding.id),
            value: seal(&self.record_key, &self.statement(&holding.id).encode()),
            signatures: self.signatures,
        }
    }

    /// Whether the holder of `holding` signed this strictly.
    #[must_use]
    pub fn verify(&self, holding: &Holding) -> bool {
        self.record(holding).verify()
    }

    /// The 256 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[..32].copy_from_slice(&self.account.0);
        out[32..64].copy_from_slice(&self.record_key.0);
        out[64..].copy_from_slice(&join_signatures(&self.signatures));
        out
    }

    /// Reads a redeem; nothing in it is checked.
    ///
    /// # Errors
    /// [`LinkFault::Length`] unless there are 256 bytes.
    pub fn decode(bytes: &[u8]) -> Result<RedeemPart, LinkFault> {
        let read = || {
            let mut reader = reader_of(bytes, Self::SIZE)?;
            Some(RedeemPart {
                account: PublicKey(reader.array()?),
                record_key: RecordKey(reader.array()?),
                signatures: read_signatures(&mut reader)?,
            })
        };
        read().ok_or(wrong_length(bytes, Self::SIZE))
    }
}

fn reader_of(bytes: &[u8], size: usize) -> Option<Reader<'_>> {
    (bytes.len() == size).then(|| Reader::new(bytes))
}

pub(super) fn wrong_length(bytes: &[u8], expected: usize) -> LinkFault {
    LinkFault::Length {
        expected,
        got: bytes.len(),
    }
}

fn join_signatures(signatures: &Signatures) -> [u8; 192] {
    let mut out = [0; 192];
    for (place, signature) in out.chunks_exact_mut(Signature::LEN).zip(signatures) {
        place.copy_from_slice(&signature.0);
    }
    out
}

fn read_signatures(reader: &mut Reader) -> Option<Signatures> {
    Some([
        Signature(reader.array()?),
        Signature(reader.array()?),
        Signature(reader.array()?),
    ])
}
