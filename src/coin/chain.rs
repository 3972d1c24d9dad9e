//! The hash chain that pays for pieces: one value revealed is one unit (`docs/protocol.md` section 3).
//!
//! w(V) is derived from the holder's seed, w(j-1) = H("DPay1/link", w(j)), and the spend commits to
//! the anchor w0. Whoever knows w(k) can show that k units are paid; nobody can go further up.

use std::fmt;

use sha2::{Digest, Sha256};

use super::ids::ChainValue;
use crate::units::MAX_COIN_UNITS;

const TAG: &[u8; 10] = b"DPay1/link";
/// Length byte, tag, value: 43 bytes, one block of SHA-256.
const PREIMAGE: usize = 1 + TAG.len() + ChainValue::LEN;

/// The preimage of one link, filled again for each hash.
struct Hasher([u8; PREIMAGE]);

impl Hasher {
    fn new() -> Self {
        let mut buffer = [0; PREIMAGE];
        buffer[0] = TAG.len() as u8;
        buffer[1..=TAG.len()].copy_from_slice(TAG);
        Hasher(buffer)
    }

    fn down(&mut self, value: &[u8; 32]) -> [u8; 32] {
        self.0[1 + TAG.len()..].copy_from_slice(value);
        Sha256::digest(self.0).into()
    }
}

/// The whole chain of one holding, kept by its holder while it is spent.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    /// w0 to w(V).
    values: Vec<ChainValue>,
}

impl Chain {
    /// The chain that ends in `tip` and is worth `value` units: `value` hashes, done once.
    ///
    /// No holding is worth more than 4 096 units; a greater `value` counts as 4 096.
    #[must_use]
    pub fn new(tip: ChainValue, value: u32) -> Chain {
        let value = u64::from(value).min(MAX_COIN_UNITS) as usize;
        let mut values = vec![tip; value + 1];
        let mut hasher = Hasher::new();
        for k in (0..value).rev() {
            values[k] = ChainValue(hasher.down(&values[k + 1].0));
        }
        Chain { values }
    }

    /// w0, which the spend commits to.
    #[must_use]
    pub fn anchor(&self) -> ChainValue {
        self.values[0]
    }

    /// w(k), which pays `k` units in all; `None` beyond the chain's value.
    #[must_use]
    pub fn reveal(&self, k: u32) -> Option<ChainValue> {
        self.values.get(usize::try_from(k).ok()?).copied()
    }

    /// How many units the chain is worth.
    #[must_use]
    pub fn value(&self) -> u32 {
        (self.values.len() - 1) as u32
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({} units from {})", self.value(), self.anchor())
    }
}

/// Whether `steps` hashes lead from `wk` to `to`: with the anchor as `to`, that `wk` pays `steps`
/// units in all; with the last tick's value, that it pays `steps` units more.
///
/// Costs `steps` hashes: bound `steps` by the holding's value before calling with a stranger's number.
#[must_use]
pub fn leads_to(wk: &ChainValue, steps: u32, to: &ChainValue) -> bool {
    let mut hasher = Hasher::new();
    let mut value = wk.0;
    for _ in 0..steps {
        value = hasher.down(&value);
    }
    value == to.0
}

/// What the tick (`k`, `wk`) pays beyond the last accepted one (`last_k`, `last_wk`): `k - last_k`
/// units, or `None` where it is not above it, beyond `value`, or out of the chain.
#[must_use]
pub fn tick_pays(
    k: u32,
    wk: &ChainValue,
    last_k: u32,
    last_wk: &ChainValue,
    value: u32,
) -> Option<u32> {
    let more = k.checked_sub(last_k).filter(|more| *more > 0)?;
    (k <= value && leads_to(wk, more, last_wk)).then_some(more)
}

/// Whether (`k`, `wk`) and (`other_k`, `other_wk`) lie on one chain, whichever is higher. Costs as many
/// hashes as they are apart.
#[must_use]
pub fn on_one_chain(k: u32, wk: &ChainValue, other_k: u32, other_wk: &ChainValue) -> bool {
    match k.checked_sub(other_k) {
        Some(steps) => leads_to(wk, steps, other_wk),
        None => leads_to(other_wk, other_k.saturating_sub(k), wk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coin::hash::tagged;

    fn value_of(chain: &Chain, k: u32) -> ChainValue {
        chain.reveal(k).expect("k is within the chain")
    }

    #[test]
    fn each_value_hashes_to_the_one_below() {
        let chain = Chain::new(ChainValue([7; 32]), 20);
        assert_eq!(chain.value(), 20);
        assert_eq!(chain.reveal(20), Some(ChainValue([7; 32])));
        assert_eq!(chain.reveal(21), None);
        assert_eq!(chain.reveal(0), Some(chain.anchor()));
        for k in 1..=20 {
            let (upper, lower) = (value_of(&chain, k), value_of(&chain, k - 1));
            assert_eq!(tagged("DPay1/link", &[&upper.0]), lower.0);
            assert!(leads_to(&upper, k, &chain.anchor()));
            assert!(!leads_to(&upper, k - 1, &chain.anchor()));
        }
    }

    #[test]
    fn a_tick_pays_what_it_is_ahead_and_never_beyond_the_value() {
        let chain = Chain::new(ChainValue([7; 32]), 20);
        let w = |k| value_of(&chain, k);
        assert_eq!(tick_pays(5, &w(5), 0, &w(0), 20), Some(5));
        assert_eq!(tick_pays(9, &w(9), 5, &w(5), 20), Some(4));
        assert_eq!(tick_pays(5, &w(5), 5, &w(5), 20), None);
        assert_eq!(tick_pays(4, &w(4), 5, &w(5), 20), None);
        assert_eq!(tick_pays(9, &w(8), 5, &w(5), 20), None);
        assert_eq!(tick_pays(9, &w(9), 5, &w(5), 8), None);
        assert_eq!(tick_pays(u32::MAX, &w(9), 0, &w(0), 20), None);
    }

    #[test]
    fn no_chain_is_longer_than_the_dearest_coin() {
        assert_eq!(Chain::new(ChainValue([0; 32]), u32::MAX).value(), 4096);
        let empty = Chain::new(ChainValue([1; 32]), 0);
        assert_eq!(empty.anchor(), ChainValue([1; 32]));
    }

    #[test]
    fn what_is_shown_of_a_chain_holds_no_value_above_the_anchor() {
        let chain = Chain::new(ChainValue([7; 32]), 3);
        let shown = format!("{chain:?}");
        assert!(!shown.contains(&value_of(&chain, 3).to_string()));
        assert!(!shown.contains(&value_of(&chain, 1).to_string()));
    }
}
