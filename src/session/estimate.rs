//! What a torrent may cost.

use super::entry::Entry;
use super::run::{Running, SeenPeer};
use super::view::{Estimate, Problem};
use super::{Session, lock};
use crate::units::{InfoHash, PricePerGib, Units};

impl Session {
    /// What a torrent may cost, as far as is known.
    ///
    /// # Errors
    /// Unknown torrent, no running node.
    pub async fn estimate(&self, hash: InfoHash) -> Result<Estimate, Problem> {
        let (run, settings) = (self.running()?, self.settings());
        let entry = run.entry(hash)?;
        let terms = entry.saved.terms;
        let balance = run.node.wallet.balance().await;
        let balance = balance.map_err(|error| super::money::problem(&error))?;
        let missing = entry.missing_bytes();
        let mut prices = entry.prices.clone();
        prices.sort_by_key(|seen| seen.price);
        let within: Vec<_> = (prices.iter().map(|seen| seen.price))
            .filter(|price| *price <= terms.max_price)
            .collect();
        let spent = *lock(&run.spent);
        let paid = balance.books.paid;
        let own_left = terms
            .budget
            .map(|budget| budget.saturating_sub(entry.units_paid));
        let day_left = spent.day(&settings, paid).left;
        let total_left = spent.total(&settings, paid).left;
        let lefts = [own_left, day_left, total_left];
        let rounded = u64::from(missing > 0);
        let most = Units(terms.max_price.due(missing).0.saturating_add(rounded));
        let most = lefts
            .iter()
            .flatten()
            .fold(most, |most, left| most.min(*left));
        let money = balance
            .at_hand()
            .0
            .saturating_add(balance.broker_buyable.map_or(0, |b| b.0));
        Ok(Estimate {
            info_hash: hash,
            name: entry.saved.name.clone(),
            has_metadata: entry.saved.size_bytes > 0,
            missing_bytes: missing,
            cheapest_units: prices.first().map(|seen| seen.price.due(missing)),
            expected_units: mean(&within).map(|price| price.due(missing)),
            prices,
            free_peers: run.free_peers(&entry),
            most_units: most,
            max_price: terms.max_price,
            available_units: balance.available,
            unread_units: balance.unread,
            buyable_units: balance.broker_buyable,
            torrent_budget_left: own_left,
            day_budget_left: day_left,
            total_budget_left: total_left,
            ask_above: settings.spending.ask_above,
            affordable: most.0 <= money,
        })
    }
}

/// What is paid on the average where all sellers are asked alike.
fn mean(prices: &[PricePerGib]) -> Option<PricePerGib> {
    let count = u64::try_from(prices.len()).ok()?;
    let sum: u64 = prices.iter().map(|price| u64::from(price.get())).sum();
    let mean = sum.saturating_add(count / 2).checked_div(count)?;
    PricePerGib::new(mean).ok()
}

impl Running {
    /// Peers of a torrent that have something of its wanted files and name no price.
    fn free_peers(&self, entry: &Entry) -> u32 {
        let hash = entry.saved.info_hash;
        let peers = lock(&self.peers);
        let is_free = |seen: &&SeenPeer| {
            let peer = &seen.snapshot;
            let has_some = peer.peer_id.is_some() && entry.wants_of(&peer.has);
            !seen.is_gone && peer.info_hash == Some(hash) && peer.price.is_none() && has_some
        };
        u32::try_from(peers.values().filter(is_free).count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::view::State;

    #[test]
    fn the_price_to_be_expected_is_the_mean_of_those_that_may_be_paid() {
        let mean = |prices: &[u64]| {
            let prices = prices.iter().map(|price| PricePerGib::new(*price));
            let prices: Vec<_> = prices.map(|price| price.expect("a price")).collect();
            mean(&prices).map(PricePerGib::get)
        };
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[65_536]), Some(65_536));
        assert_eq!(mean(&[8192, 16_384]), Some(12_288));
        assert_eq!(mean(&[16, 16, 17]), Some(16));
    }

    #[test]
    fn what_was_looked_at_while_files_are_checked_is_not_there() {
        let mut saved = crate::session::entry::tests::saved();
        (saved.size_bytes, saved.wanted_bytes, saved.span_bytes) = (10, 10, 10);
        let mut entry = Entry::new(saved);
        let row = std::sync::Arc::make_mut(&mut entry.row);
        (row.state, row.have_bytes) = (State::Checking, 10);
        assert_eq!(entry.missing_bytes(), 10);
        std::sync::Arc::make_mut(&mut entry.row).state = State::Downloading;
        assert_eq!(entry.missing_bytes(), 0);
    }
}
