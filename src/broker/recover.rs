//! What the broker knows of an account, page by page, for a wallet that has only its words
//! (`docs/protocol.md` section 10).

use std::str::FromStr;

use super::answer::{HoldingFound, HoldingStatus, KeyFound, RecoverPage};
use super::decide::Broker;
use super::desk::{Desk, Stop};
use super::rows::{CoinRow, HolderRow, HoldingRow, HoldingState, RowKey};
use super::walk::damaged;
use crate::coin::certificate::{CoinCertificate, PseudonymCertificate};
use crate::coin::ids::HoldingId;
use crate::coin::keys::PublicKey;
use crate::record::{ClosePart, Link, MAX_LINKS_REDEEM, OpenSpend, Path, Role};

/// The rows that a page is made of, as the store found them.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Holder keys of the account.
    pub keys: Vec<HolderRow>,
    /// Coins it bought and about which nothing was presented.
    pub coins: Vec<CoinRow>,
    /// Holdings under its keys, or spent to one of them.
    pub holdings: Vec<HoldingRow>,
    /// Where the next page begins; none: this is the last one.
    pub next: Option<Cursor>,
}

/// Where a page begins: after this row of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Keys, after this one.
    Keys(Option<PublicKey>),
    /// Coins, after this one.
    Coins(Option<HoldingId>),
    /// Holdings, after this one.
    Holdings(Option<HoldingId>),
}

/// Text that is no cursor of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoCursor;

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cursor::Keys(None) => f.write_str("k"),
            Cursor::Keys(Some(key)) => write!(f, "k{key}"),
            Cursor::Coins(None) => f.write_str("c"),
            Cursor::Coins(Some(id)) => write!(f, "c{id}"),
            Cursor::Holdings(None) => f.write_str("h"),
            Cursor::Holdings(Some(id)) => write!(f, "h{id}"),
        }
    }
}

impl FromStr for Cursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        fn after<T: FromStr>(text: &str) -> Result<Option<T>, NoCursor> {
            if text.is_empty() {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|_| NoCursor)
        }
        match text.split_at_checked(1) {
            Some(("k", rest)) => after(rest).map(Cursor::Keys),
            Some(("c", rest)) => after(rest).map(Cursor::Coins),
            Some(("h", rest)) => after(rest).map(Cursor::Holdings),
            _ => Err(NoCursor),
        }
    }
}

impl Broker {
    pub(super) fn recover(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        found: &Found,
    ) -> Result<RecoverPage, Stop> {
        let suspended = desk.account(me)?.suspended.is_some();
        let mut page = RecoverPage {
            next: found.next.map(|cursor| cursor.to_string()),
            ..RecoverPage::default()
        };
        for row in &found.keys {
            let certificate = (!suspended).then(|| {
                let issued = PseudonymCertificate::issue(self.key(), row.key, row.expires);
                hex::encode(issued.encode())
            });
            page.keys.push(KeyFound {
                key: row.key,
                certificate,
            });
        }
        page.coins = (found.coins.iter())
            .map(|coin| hex::encode(&coin.certificate))
            .collect();
        for row in &found.holdings {
            self.find(desk, me, row, &mut page.holdings)?;
        }
        Ok(page)
    }

    /// The holding and those of its shares about which nothing was presented, as far as they are this
    /// account's.
    fn find(
        &self,
        desk: &mut Desk<'_>,
        me: &PublicKey,
        row: &HoldingRow,
        into: &mut Vec<HoldingFound>,
    ) -> Result<(), Stop> {
        let path = path_to(desk, row)?;
        let spend = spend_of(row)?;
        let mut keys = vec![RowKey::Holder(row.key)];
        keys.extend(spend.map(|open| RowKey::Holder(open.payee)));
        keys.extend(row.shares().into_iter().map(RowKey::Holding));
        desk.want(&keys)?;
        if desk.account_behind(&row.key)? == *me {
            into.push(HoldingFound {
                path: hex::encode(path.encode()),
                holding: self.shown(desk, me, &row.id)?,
            });
        }
        let (Some(spend), HoldingState::Split { close, .. }) = (spend, &row.state) else {
            return Ok(());
        };
        let close = ClosePart::decode(close).map_err(|e| damaged(row, &e))?;
        for id in row.shares() {
            let (role, key) = if id == row.id.payee_share() {
                (Role::PayeeShare, spend.payee)
            } else {
                (Role::Change, row.key)
            };
            if desk.holding(&id)?.is_some()
                || desk.account_behind(&key)? != *me
                || path.links.len() >= MAX_LINKS_REDEEM
            {
                continue;
            }
            let holding = self.shown(desk, me, &id)?;
            debug_assert!(matches!(
                holding.state,
                HoldingStatus::Unknown | HoldingStatus::Settled
            ));
            into.push(HoldingFound {
                path: hex::encode(path.extend(Link { role, spend, close }).encode()),
                holding,
            });
        }
        Ok(())
    }
}

/// The path that proves a known holding, from the rows above it.
fn path_to(desk: &mut Desk<'_>, row: &HoldingRow) -> Result<Path, Stop> {
    desk.want(&[RowKey::Coin(row.coin)])?;
    let coin = desk.coin(&row.coin)?;
    let coin = coin.and_then(|coin| CoinCertificate::decode(&coin.certificate).ok());
    let coin = coin.ok_or_else(|| damaged(row, &"its coin is missing"))?;
    let mut links = Vec::new();
    let (mut id, mut at) = (row.id, row.parent);
    while let Some(above) = at {
        desk.want(&[RowKey::Holding(above)])?;
        let above = desk.holding(&above)?;
        let above = above.ok_or_else(|| damaged(row, &"the holding above it is missing"))?;
        let HoldingState::Split { close, .. } = &above.state else {
            return Err(damaged(row, &"the holding above it is not split"));
        };
        let spend = spend_of(&above)?.ok_or_else(|| damaged(row, &"it was not spent"))?;
        let role = if id == above.id.payee_share() {
            Role::PayeeShare
        } else {
            Role::Change
        };
        let close = ClosePart::decode(close).map_err(|e| damaged(&above, &e))?;
        links.push(Link { role, spend, close });
        (id, at) = (above.id, above.parent);
    }
    links.reverse();
    Ok(Path { coin, links })
}

fn spend_of(row: &HoldingRow) -> Result<Option<OpenSpend>, Stop> {
    match &row.state {
        HoldingState::Fixed { spend, .. } | HoldingState::Split { spend, .. } => {
            let open = OpenSpend::decode(spend).map_err(|e| damaged(row, &e))?;
            Ok(Some(open))
        }
        HoldingState::Redeemed { .. } | HoldingState::Void => Ok(None),
    }
}
