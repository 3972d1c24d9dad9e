//! A link of a path: the spend of one holding and its close (`docs/protocol.md` section 4).

use thiserror::Error;

use super::item::SignedRecord;
use super::parts::{ClosePart, OpenSpend, wrong_length};
use super::path::Holding;
use crate::coin::{CertificateError, KeyFault, PublicKey};
use crate::units::Units;

/// What is wrong with a link, in the order in which it is looked at.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum LinkFault {
    /// Too few or too many bytes.
    #[error("this part of a path has {expected} bytes, these are {got}")]
    Length {
        /// Bytes it should have.
        expected: usize,
        /// Bytes given.
        got: usize,
    },
    /// A role that is neither 1 nor 2.
    #[error("role {0} is neither 1 (payee's share) nor 2 (change)")]
    Role(u8),
    /// The payee's key is no valid key.
    #[error("the payee's key is no valid key: {0}")]
    PayeeKey(KeyFault),
    /// The payee's certificate is not well formed, or its signature is not valid.
    #[error("the payee's certificate: {0}")]
    Certificate(CertificateError),
    /// The payee's certificate names another key.
    #[error("the payee's certificate names another key, {0}")]
    CertificateOfAnotherKey(PublicKey),
    /// The payee's certificate is of another broker than the coin.
    #[error("the payee's certificate is of another broker than the coin, {0}")]
    CertificateOfAnotherBroker(PublicKey),
    /// A signature of the spend is not strictly valid; the place, from 0.
    #[error("the spend's signature for place {0} is not valid")]
    SpendSignature(u8),
    /// More units closed than the holding is worth.
    #[error("closed at {k} units, the holding is worth {value}")]
    AboveValue {
        /// Units that the close names.
        k: u32,
        /// What the holding is worth.
        value: Units,
    },
    /// The part that the path goes on with is worth nothing.
    #[error("the next holding is worth nothing")]
    EmptyShare,
    /// A signature of the close is not strictly valid; the place, from 0.
    #[error("the close's signature for place {0} is not valid")]
    CloseSignature(u8),
    /// The chain value does not lead to the anchor in k hashes.
    #[error("the chain value does not lead to the spend's anchor")]
    Chain,
}

/// Which part of a holding a path goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// k units, held by the payee's key.
    PayeeShare = 1,
    /// The rest, held by the payer's key.
    Change = 2,
}

impl Role {
    fn from_byte(byte: u8) -> Result<Role, LinkFault> {
        match byte {
            1 => Ok(Role::PayeeShare),
            2 => Ok(Role::Change),
            other => Err(LinkFault::Role(other)),
        }
    }
}

/// The spend and the close of the holding reached so far, and which part the path goes on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The part that is the next holding.
    pub role: Role,
    /// The spend.
    pub spend: OpenSpend,
    /// Its close.
    pub close: ClosePart,
}

impl Link {
    /// Bytes of the encoding.
    pub const SIZE: usize = 651;

    /// The 651 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        out[0] = self.role as u8;
        out[1..1 + OpenSpend::SIZE].copy_from_slice(&self.spend.encode());
        out[1 + OpenSpend::SIZE..].copy_from_slice(&self.close.encode());
        out
    }

    /// Reads a link; nothing in it is checked but role and the form of the certificate.
    ///
    /// # Errors
    /// The first thing that is wrong with its form.
    pub fn decode(bytes: &[u8]) -> Result<Link, LinkFault> {
        if bytes.len() != Self::SIZE {
            return Err(wrong_length(bytes, Self::SIZE));
        }
        let (role, rest) = bytes.split_at(1);
        let (spend, close) = rest.split_at(OpenSpend::SIZE);
        Ok(Link {
            role: Role::from_byte(role[0])?,
            spend: OpenSpend::decode(spend)?,
            close: ClosePart::decode(close)?,
        })
    }

    /// The holding that this link leads to from `parent`; signatures and chain are not checked.
    ///
    /// # Errors
    /// [`LinkFault::AboveValue`] or [`LinkFault::EmptyShare`].
    pub fn next(&self, parent: &Holding) -> Result<Holding, LinkFault> {
        self.close.check_units(parent)?;
        let paid = Units(u64::from(self.close.k));
        let (id, value, key) = match self.role {
            Role::PayeeShare => (parent.id.payee_share(), paid, self.spend.payee),
            Role::Change => (
                parent.id.change(),
                parent.value.saturating_sub(paid),
                parent.key,
            ),
        };
        if value.is_zero() {
            return Err(LinkFault::EmptyShare);
        }
        Ok(Holding {
            id,
            value,
            key,
            ..*parent
        })
    }

    /// The holding that this link proves, if `parent` is proved.
    ///
    /// # Errors
    /// The first thing that is wrong, in the protocol's order.
    pub fn verify(&self, parent: &Holding) -> Result<Holding, LinkFault> {
        self.spend.check_payee(&parent.broker)?;
        self.spend.check_signatures(parent)?;
        let next = self.next(parent)?;
        self.close.check_signatures(parent, &self.spend)?;
        self.close.check_chain(&self.spend)?;
        Ok(next)
    }

    /// The records of the spend and of the close, as they lie in the DHT.
    #[must_use]
    pub fn records(&self, parent: &Holding) -> [SignedRecord; 2] {
        [
            self.spend.record(parent),
            self.close.record(&parent.id, &self.spend),
        ]
    }
}
