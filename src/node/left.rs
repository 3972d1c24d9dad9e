//! What stays open when a node stops.

use serde::Serialize;

use super::{CLOSE_DEADLINE, Node};
use crate::gateway::OpenSpendLeft;
use crate::report::date;
use crate::units::Units;
use crate::wallet::keeping::{settled_by, settles};

/// A channel that is not closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StaysOpen {
    /// The spend.
    pub spend: String,
    /// The other end's address.
    pub peer: String,
    /// Whether we pay on it; else we are paid.
    pub pays: bool,
    /// Units ticked.
    pub units: Units,
    /// The day on which its coin is settled at the latest, or, where we are paid, before which it must be
    /// redeemed, YYYY-MM-DD.
    pub until: Option<String>,
}

impl std::fmt::Display for StaysOpen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (units, peer, spend) = (self.units, &self.peer, &self.spend);
        match self.pays {
            true => write!(
                f,
                "{units:#} ticked to {peer} on spend {spend}; it closes when the seeder answers, and at \
                 the latest when the coin is settled"
            )?,
            false => write!(
                f,
                "{units:#} ticked by {peer} on spend {spend}; it is closed at the next start"
            )?,
        }
        match &self.until {
            Some(until) if self.pays => write!(f, ", on {until}"),
            Some(until) => write!(f, ", which must be before {until}"),
            None => Ok(()),
        }
    }
}

impl From<&OpenSpendLeft> for StaysOpen {
    fn from(left: &OpenSpendLeft) -> StaysOpen {
        StaysOpen {
            spend: left.spend.to_string(),
            peer: left.peer.to_string(),
            pays: true,
            units: left.units,
            until: None,
        }
    }
}

impl Node {
    /// Closes all channels, and says which stay open: those of earlier runs too.
    pub async fn close_channels(&self) -> Vec<StaysOpen> {
        let left = self.gateway.close_all(CLOSE_DEADLINE).await;
        let Ok(open) = self.wallet.open_channels().await else {
            // A wallet that ended before says nothing; the gateway knows those of this run.
            return left.iter().map(StaysOpen::from).collect();
        };
        let spent = open.spent.iter().map(|spent| StaysOpen {
            spend: spent.spend.to_string(),
            peer: spent.peer.clone(),
            pays: true,
            units: Units(u64::from(spent.last_k)),
            until: Some(date(settled_by(spent.holding.expires, open.hold_ms))),
        });
        let unclosed = open.received.iter().filter(|row| row.close.is_none());
        let received = unclosed.filter(|row| row.k > 0).map(|row| StaysOpen {
            spend: row.spend.to_string(),
            peer: row.peer.clone(),
            pays: false,
            units: Units(u64::from(row.k)),
            until: Some(date(settles(row.holding.expires))),
        });
        spent.chain(received).collect()
    }
}
