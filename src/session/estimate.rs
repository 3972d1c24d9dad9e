//! What a torrent may cost.

use super::view::{Estimate, Problem};
use super::{Session, lock};
use crate::units::{InfoHash, Units};

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
        let missing = entry
            .saved
            .wanted_bytes
            .saturating_sub(entry.have_of_wanted());
        let mut prices = entry.prices.clone();
        prices.sort_by_key(|seen| seen.price);
        let within: Vec<_> = prices
            .iter()
            .filter(|seen| seen.price <= terms.max_price)
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
        let priced = prices.len();
        Ok(Estimate {
            info_hash: hash,
            name: entry.saved.name.clone(),
            has_metadata: entry.saved.size_bytes > 0,
            missing_bytes: missing,
            cheapest_units: prices.first().map(|seen| seen.price.due(missing)),
            expected_units: within
                .get(within.len() / 2)
                .map(|seen| seen.price.due(missing)),
            prices,
            free_peers: entry
                .row
                .peers
                .saturating_sub(u32::try_from(priced).unwrap_or(0)),
            most_units: most,
            max_price: terms.max_price,
            available_units: balance.at_hand(),
            buyable_units: balance.broker_buyable,
            torrent_budget_left: own_left,
            day_budget_left: day_left,
            total_budget_left: total_left,
            affordable: most.0 <= money,
        })
    }
}
