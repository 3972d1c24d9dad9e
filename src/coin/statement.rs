//! Statements, the plaintext of records: 98 bytes each (`docs/protocol.md` section 4).

use thiserror::Error;

use super::Reader;
use super::ids::{ChainValue, Commitment, HoldingId};
use super::keys::PublicKey;

/// Bytes of every statement.
pub const STATEMENT_LEN: usize = 98;
const VERSION: u8 = 1;
const KIND_SPEND: u8 = 3;
const KIND_CLOSE: u8 = 4;
const KIND_REDEEM: u8 = 5;

/// Why bytes are no statement.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StatementError {
    /// Not 98 bytes.
    #[error("a statement has 98 bytes, this has {0}")]
    Length(usize),
    /// A version other than 1.
    #[error("statement of version {0}, only version 1 is known")]
    Version(u8),
    /// A kind that is no statement.
    #[error("kind {0} is no statement (3 spend, 4 close, 5 redeem)")]
    Kind(u8),
    /// Padding that is not zero.
    #[error("a statement whose padding is not zero")]
    Padding,
}

/// Locks a holding to one payee under one hash chain. Signed by the holding's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Spend {
    /// The holding that is spent.
    pub holding: HoldingId,
    /// Holder key of the payee, which will hold the payee's share.
    pub payee: PublicKey,
    /// w0 of the chain that pays.
    pub anchor: ChainValue,
}

/// Says how many units of a spend were ticked. Signed by the spend's payee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Close {
    /// c of the spend that is closed.
    pub spend: Commitment,
    /// Units ticked, 0 to the holding's value.
    pub k: u32,
    /// w(k); w0 where k = 0.
    pub wk: ChainValue,
}

/// Gives a holding back to the broker for an account. Signed by the holding's holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Redeem {
    /// The holding that is redeemed.
    pub holding: HoldingId,
    /// The account that is credited.
    pub account: PublicKey,
}

/// Any statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// See [`Spend`].
    Spend(Spend),
    /// See [`Close`].
    Close(Close),
    /// See [`Redeem`].
    Redeem(Redeem),
}

impl Statement {
    /// The statement's 98 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; STATEMENT_LEN] {
        let mut out = [0; STATEMENT_LEN];
        out[0] = VERSION;
        match self {
            Statement::Spend(spend) => {
                out[1] = KIND_SPEND;
                out[2..34].copy_from_slice(&spend.holding.0);
                out[34..66].copy_from_slice(&spend.payee.0);
                out[66..98].copy_from_slice(&spend.anchor.0);
            }
            Statement::Close(close) => {
                out[1] = KIND_CLOSE;
                out[2..34].copy_from_slice(&close.spend.0);
                out[34..38].copy_from_slice(&close.k.to_be_bytes());
                out[38..70].copy_from_slice(&close.wk.0);
            }
            Statement::Redeem(redeem) => {
                out[1] = KIND_REDEEM;
                out[2..34].copy_from_slice(&redeem.holding.0);
                out[34..66].copy_from_slice(&redeem.account.0);
            }
        }
        out
    }

    /// Reads a statement. Keys and numbers in it are as its signer wrote them: not checked here.
    ///
    /// # Errors
    /// Which part is not that of a statement.
    pub fn decode(bytes: &[u8]) -> Result<Statement, StatementError> {
        let length = StatementError::Length(bytes.len());
        if bytes.len() != STATEMENT_LEN {
            return Err(length);
        }
        let mut reader = Reader::new(bytes);
        let version = reader.u8().ok_or(length)?;
        if version != VERSION {
            return Err(StatementError::Version(version));
        }
        let kind = reader.u8().ok_or(length)?;
        let first = reader.array().ok_or(length)?;
        let statement = match kind {
            KIND_SPEND => Statement::Spend(Spend {
                holding: HoldingId(first),
                payee: PublicKey(reader.array().ok_or(length)?),
                anchor: ChainValue(reader.array().ok_or(length)?),
            }),
            KIND_CLOSE => {
                let close = Close {
                    spend: Commitment(first),
                    k: reader.u32().ok_or(length)?,
                    wk: ChainValue(reader.array().ok_or(length)?),
                };
                padding(&reader.array::<28>().ok_or(length)?)?;
                Statement::Close(close)
            }
            KIND_REDEEM => {
                let redeem = Redeem {
                    holding: HoldingId(first),
                    account: PublicKey(reader.array().ok_or(length)?),
                };
                padding(&reader.array::<32>().ok_or(length)?)?;
                Statement::Redeem(redeem)
            }
            other => return Err(StatementError::Kind(other)),
        };
        Ok(statement)
    }
}

fn padding(bytes: &[u8]) -> Result<(), StatementError> {
    if bytes.iter().any(|byte| *byte != 0) {
        return Err(StatementError::Padding);
    }
    Ok(())
}
