//! Columns to rows, the same for every SQL backend.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::BrokerStoreError;
use crate::broker::answer::CreditState;
use crate::broker::cases::{ContestRow, EvidenceRow, LossRow, NoticeRow, ProofRow};
use crate::broker::rows::{
    AccountRow, CoinRow, CreditRow, DepositRow, HolderRow, HoldingRow, HoldingState, RequestRow,
    Row, RowKey, SpentRow, WithdrawalRow,
};
use crate::broker::{BodyHash, RequestId, WithdrawalId};
use crate::coin::ids::{Commitment, HoldingId};
use crate::coin::keys::PublicKey;
use crate::record::{Salt, Slot};
use crate::units::{Day, Units, UnixMs};

/// Reads typed columns of one row of a table.
pub(super) struct Fields<'r> {
    table: &'static str,
    row: &'r SqliteRow,
}

impl<'r> Fields<'r> {
    pub(super) fn new(table: &'static str, row: &'r SqliteRow) -> Self {
        Fields { table, row }
    }

    fn damaged(&self, column: &'static str) -> BrokerStoreError {
        BrokerStoreError::Damaged {
            table: self.table,
            column,
        }
    }

    pub(super) fn int(&self, column: &'static str) -> Result<u64, BrokerStoreError> {
        self.maybe_int(column)?.ok_or_else(|| self.damaged(column))
    }

    /// A number of either sign.
    pub(super) fn number(&self, column: &'static str) -> Result<i64, BrokerStoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn maybe_int(&self, column: &'static str) -> Result<Option<u64>, BrokerStoreError> {
        let number: Option<i64> = self.row.try_get(column)?;
        number
            .map(|n| u64::try_from(n).map_err(|_| self.damaged(column)))
            .transpose()
    }

    pub(super) fn small(&self, column: &'static str) -> Result<u32, BrokerStoreError> {
        u32::try_from(self.int(column)?).map_err(|_| self.damaged(column))
    }

    pub(super) fn units(&self, column: &'static str) -> Result<Units, BrokerStoreError> {
        self.int(column).map(Units)
    }

    pub(super) fn time(&self, column: &'static str) -> Result<UnixMs, BrokerStoreError> {
        self.int(column).map(UnixMs)
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, BrokerStoreError> {
        Ok(self.row.try_get(column)?)
    }

    fn blob(&self, column: &'static str) -> Result<Vec<u8>, BrokerStoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column)?;
        bytes.ok_or_else(|| self.damaged(column))
    }

    pub(super) fn bytes<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<[u8; N], BrokerStoreError> {
        self.maybe_bytes(column)?
            .ok_or_else(|| self.damaged(column))
    }

    pub(super) fn maybe_bytes<const N: usize>(
        &self,
        column: &'static str,
    ) -> Result<Option<[u8; N]>, BrokerStoreError> {
        let bytes: Option<Vec<u8>> = self.row.try_get(column)?;
        bytes
            .map(|b| b.try_into().map_err(|_| self.damaged(column)))
            .transpose()
    }

    /// The key of a row that has a name.
    pub(super) fn key(&self) -> Result<RowKey, BrokerStoreError> {
        Ok(match self.table {
            "holder" => RowKey::Holder(PublicKey(self.bytes("holder_key")?)),
            "coin" => RowKey::Coin(HoldingId(self.bytes("id")?)),
            _ => return Err(self.damaged("version")),
        })
    }

    /// The row of this table.
    pub(super) fn row(&self) -> Result<Row, BrokerStoreError> {
        Ok(match self.table {
            "account" => Row::Account(self.account()?),
            "holder" => Row::Holder(HolderRow {
                key: PublicKey(self.bytes("holder_key")?),
                account: PublicKey(self.bytes("account")?),
                expires: Day(self.small("expires_day")?),
            }),
            "coin" => Row::Coin(CoinRow {
                id: HoldingId(self.bytes("id")?),
                account: PublicKey(self.bytes("account")?),
                value: self.units("value")?,
                credited: self.units("credited")?,
                contests: self.small("contests")?,
                settled: self.int("settled")? != 0,
                expires: Day(self.small("expires_day")?),
                certificate: self.blob("certificate")?,
            }),
            "holding" => Row::Holding(Box::new(self.holding()?)),
            "credit" => Row::Credit(CreditRow {
                holding: HoldingId(self.bytes("holding")?),
                coin: HoldingId(self.bytes("coin")?),
                account: PublicKey(self.bytes("account")?),
                units: self.units("units")?,
                pending_until: self.time("pending_until")?,
                state: self.credit_state()?,
            }),
            "contest" => Row::Contest(Box::new(ContestRow {
                slot: Slot(self.bytes("slot")?),
                holding: HoldingId(self.bytes("holding")?),
                coin: HoldingId(self.bytes("coin")?),
                signer: PublicKey(self.bytes("signer")?),
                offender: PublicKey(self.bytes("offender")?),
                late: self.int("late")? != 0,
                opened: self.time("opened")?,
                evidence: self.small("evidence")?,
                due: self.time("due")?,
                state: self.json("state")?,
            })),
            "evidence" => Row::Evidence(EvidenceRow {
                slot: Slot(self.bytes("slot")?),
                number: self.small("number")?,
                c: self.maybe_bytes("c")?.map(Commitment),
                presenter: PublicKey(self.bytes("presenter")?),
                at: self.time("at")?,
                bytes: self.blob("bytes")?,
            }),
            "proof" => Row::Proof(ProofRow {
                key: PublicKey(self.bytes("signer")?),
                salt: Salt(self.bytes("salt")?),
                at: self.time("at")?,
                proof: self.blob("proof")?,
            }),
            "loss" => Row::Loss(LossRow {
                offender: PublicKey(self.bytes("offender")?),
                number: self.int("number")?,
                loser: PublicKey(self.bytes("loser")?),
                holding: HoldingId(self.bytes("holding")?),
                units: self.units("units")?,
                paid: self.units("paid")?,
            }),
            "notice" => Row::Notice(NoticeRow {
                account: PublicKey(self.bytes("account")?),
                number: self.int("number")?,
                at: self.time("at")?,
                what: self.json("what")?,
            }),
            "spent" => Row::Spent(SpentRow {
                slot: Slot(self.bytes("slot")?),
                c: Commitment(self.bytes("c")?),
                at: self.time("at")?,
            }),
            "deposit" => Row::Deposit(DepositRow {
                reference: self.text("reference")?,
                account: PublicKey(self.bytes("account")?),
                units: self.units("units")?,
                at: self.time("at")?,
            }),
            "withdrawal" => Row::Withdrawal(WithdrawalRow {
                id: WithdrawalId(self.bytes("id")?),
                account: PublicKey(self.bytes("account")?),
                units: self.units("units")?,
                destination: self.text("destination")?,
                requested: self.time("requested")?,
                paid: self.maybe_int("paid")?.map(UnixMs),
            }),
            "request" => Row::Request(RequestRow {
                account: PublicKey(self.bytes("account")?),
                id: RequestId(self.bytes("id")?),
                body: BodyHash(self.bytes("body")?),
                answer: self.blob("answer")?,
                at: self.time("at")?,
            }),
            _ => return Err(self.damaged("version")),
        })
    }

    fn account(&self) -> Result<AccountRow, BrokerStoreError> {
        Ok(AccountRow {
            id: PublicKey(self.bytes("id")?),
            balance: self.units("balance")?,
            pending: self.units("pending")?,
            bond: self.units("bond")?,
            outstanding: self.units("outstanding")?,
            suspended: self.maybe_int("suspended")?.map(UnixMs),
            withheld: self.int("withheld")? != 0,
            last_redeemed: self.time("last_redeemed")?,
            contests: self.small("contests")?,
            owed: self.units("owed")?,
            losses: self.int("losses")?,
            losses_paid: self.int("losses_paid")?,
            notices: self.int("notices")?,
            signed_after: self.time("signed_after")?,
        })
    }

    /// A column of JSON.
    fn json<T: serde::de::DeserializeOwned>(
        &self,
        column: &'static str,
    ) -> Result<T, BrokerStoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|_| self.damaged(column))
    }

    fn credit_state(&self) -> Result<CreditState, BrokerStoreError> {
        Ok(match self.text("state")?.as_str() {
            "pending" => CreditState::Pending,
            "paid" => CreditState::Paid,
            "cancelled" => CreditState::Cancelled,
            "settled" => CreditState::Settled,
            _ => return Err(self.damaged("state")),
        })
    }

    fn holding(&self) -> Result<HoldingRow, BrokerStoreError> {
        let c = || self.bytes("c").map(Commitment);
        let state = match self.text("state")?.as_str() {
            "fixed" => HoldingState::Fixed {
                c: c()?,
                spend: self.blob("statement")?,
            },
            "split" => HoldingState::Split {
                c: c()?,
                spend: self.blob("statement")?,
                close_c: Commitment(self.bytes("close_c")?),
                close: self.blob("close_part")?,
                k: self.small("k")?,
                closed: self.time("closed")?,
            },
            "redeemed" => HoldingState::Redeemed {
                c: c()?,
                redeem: self.blob("statement")?,
                account: PublicKey(self.bytes("account")?),
            },
            "void" => HoldingState::Void,
            _ => return Err(self.damaged("state")),
        };
        Ok(HoldingRow {
            id: HoldingId(self.bytes("id")?),
            coin: HoldingId(self.bytes("coin")?),
            parent: self.maybe_bytes("parent")?.map(HoldingId),
            value: self.units("value")?,
            key: PublicKey(self.bytes("holder_key")?),
            certificate: self.blob("certificate")?,
            since: self.time("since")?,
            contested: self.maybe_bytes("contested")?.map(Slot),
            state,
        })
    }
}
