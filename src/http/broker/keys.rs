//! How many new holder keys are certified a day. Each is a row for good, and costs whoever asks nothing:
//! without a bound, strangers could fill the disk.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;

use parking_lot::Mutex;

use super::Shared;
use super::error::ApiError;
use crate::broker::answer::{Refusal, RefusalCode};
use crate::broker::{Caller, RowKey};
use crate::coin::keys::PublicKey;
use crate::units::Day;

/// Most new keys a day. A payee uses one for each channel that it is offered, and starts without money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyLimits {
    /// Of an account that has or had money.
    account: u32,
    /// Of all others at one address; none: at any.
    address: Option<u32>,
    /// Of all others.
    strangers: u32,
    /// Half of those are kept for blocks of addresses that took no more than this; none: for nobody.
    few: Option<u32>,
}

impl KeyLimits {
    /// What is certified, by address too where addresses tell anything.
    pub(super) fn new(by_address: bool) -> KeyLimits {
        KeyLimits {
            account: 65_536,
            address: by_address.then_some(4_096),
            strangers: 262_144,
            few: by_address.then_some(1_024),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Account(PublicKey),
    Stranger(IpAddr),
}

/// What was certified today.
#[derive(Debug, Default)]
struct Used {
    today: Day,
    accounts: HashMap<PublicKey, u32>,
    addresses: HashMap<IpAddr, u32>,
    blocks: HashMap<IpAddr, u32>,
    strangers: u32,
}

/// Counts them. A start counts anew: strangers cannot make one.
pub(super) struct KeyCounter {
    limits: KeyLimits,
    used: Mutex<Used>,
}

impl KeyCounter {
    pub(super) fn new(limits: KeyLimits) -> KeyCounter {
        KeyCounter {
            limits,
            used: Mutex::default(),
        }
    }

    /// Counts so many more, if there is room for them.
    fn take(&self, asker: Asker, keys: u32, today: Day) -> Result<(), Refusal> {
        if keys == 0 {
            return Ok(());
        }
        let mut used = self.used.lock();
        if used.today != today {
            *used = Used {
                today,
                ..Used::default()
            };
        }
        let add = |count: u32, most: u32, whose: &str| {
            let sum = count.saturating_add(keys);
            (sum <= most)
                .then_some(sum)
                .ok_or_else(|| full(most, whose))
        };
        match asker {
            Asker::Account(account) => {
                let count = used.accounts.entry(account).or_default();
                *count = add(*count, self.limits.account, "this account")?;
            }
            Asker::Stranger(address) => {
                let network = network(address);
                let at_address = used.addresses.get(&network).copied().unwrap_or_default();
                let most = self.limits.address.unwrap_or(u32::MAX);
                let whose = format!("accounts without money at {network}");
                let at_address = add(at_address, most, &whose)?;
                let block = block(address);
                let in_block = used.blocks.get(&block).copied().unwrap_or_default();
                let in_block = in_block.saturating_add(keys);
                let all = self.limits.strangers;
                let (most, whose) = match self.limits.few {
                    Some(few) if in_block > few => {
                        (all / 2, "accounts without money in networks that had many")
                    }
                    _ => (all, "all accounts without money"),
                };
                used.strangers = add(used.strangers, most, whose)?;
                used.addresses.insert(network, at_address);
                used.blocks.insert(block, in_block);
            }
        }
        Ok(())
    }
}

fn full(most: u32, whose: &str) -> Refusal {
    Refusal::new(
        RefusalCode::TooMany,
        format!("no more than {most} new holder keys a day are certified for {whose}"),
        "ask again tomorrow (UTC), or use the keys that are certified already; an account that was paid \
         something in, or redeemed something, gets more",
    )
}

/// What one customer of a network has: of IPv6 the first 48 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            IpAddr::from([a, b, c, 0, 0, 0, 0, 0])
        }
        v4 => v4,
    }
}

/// What somebody with many networks may have: of IPv6 the first 32 bits, of IPv4 the first 16.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            IpAddr::from([a, b, 0, 0, 0, 0, 0, 0])
        }
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            IpAddr::from([a, b, 0, 0])
        }
    }
}

/// Counts those of `holders` that were not certified before, or says why they are not certified now.
pub(super) async fn count(
    shared: &Shared,
    caller: &Caller,
    address: IpAddr,
    holders: &[PublicKey],
) -> Result<Result<(), Refusal>, ApiError> {
    let account = RowKey::Account(caller.account);
    // What is no key is refused, and costs nothing.
    let holders = holders.iter().filter(|key| key.check().is_ok());
    let holders: BTreeSet<&PublicKey> = holders.collect();
    let mut keys: Vec<RowKey> = holders.iter().map(|key| RowKey::Holder(**key)).collect();
    keys.push(account.clone());
    let rows = shared.store.load(&keys).await?;
    let is_there = |key: &RowKey| rows.get(key).is_some_and(|stored| stored.row.is_some());
    let asker = match is_there(&account) {
        true => Asker::Account(caller.account),
        false => Asker::Stranger(address),
    };
    let new = keys.iter().filter(|key| !is_there(key) && **key != account);
    let new = u32::try_from(new.count()).unwrap_or(u32::MAX);
    Ok(shared.keys.take(asker, new, (shared.clock)().day()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: KeyLimits = KeyLimits {
        account: 50,
        address: Some(20),
        strangers: 30,
        few: None,
    };

    fn stranger(n: u8) -> Asker {
        Asker::Stranger(IpAddr::from([10, 0, 0, n]))
    }

    fn why(taken: Result<(), Refusal>) -> String {
        taken.expect_err("full").to_string()
    }

    #[test]
    fn each_has_its_number_a_day_and_who_has_money_does_not_depend_on_strangers() {
        let (counter, today) = (KeyCounter::new(LIMITS), Day(7));
        counter.take(stranger(1), 20, today).expect("room");
        assert!(why(counter.take(stranger(1), 1, today)).contains("at 10.0.0.1"));
        counter.take(stranger(1), 0, today).expect("nothing new");
        // What is refused is not counted.
        assert!(why(counter.take(stranger(2), 11, today)).contains("30 new holder keys"));
        counter.take(stranger(2), 10, today).expect("room");
        assert!(why(counter.take(stranger(3), 1, today)).contains("all accounts"));
        let rich = Asker::Account(PublicKey([1; 32]));
        counter.take(rich, 50, today).expect("room of its own");
        assert!(why(counter.take(rich, 1, today)).contains("this account"));
        let other = Asker::Account(PublicKey([2; 32]));
        counter.take(other, 50, today).expect("room of its own");
        counter.take(stranger(1), 20, Day(8)).expect("another day");
    }

    #[test]
    fn where_addresses_tell_nothing_strangers_share_one_number() {
        let counter = KeyCounter::new(KeyLimits {
            address: None,
            ..LIMITS
        });
        counter.take(stranger(1), 30, Day(7)).expect("room");
        assert!(counter.take(stranger(1), 1, Day(7)).is_err());
        let limits = KeyLimits::new(false);
        assert_eq!((limits.address, limits.few), (None, None));
    }

    #[test]
    fn who_has_many_networks_leaves_half_of_a_day_to_those_that_took_few() {
        let limits = KeyLimits {
            strangers: 300,
            few: Some(25),
            ..LIMITS
        };
        let (counter, today) = (KeyCounter::new(limits), Day(7));
        let at =
            |block: u16, n: u16| Asker::Stranger(IpAddr::from([0x2001, block, n, 0, 0, 0, 0, 1]));
        let taken = (0..1_000).filter(|n| counter.take(at(1, *n), 5, today).is_ok());
        assert_eq!(taken.count(), 30, "half of 300, by five");
        let refused = why(counter.take(at(1, 2_000), 1, today));
        assert!(refused.contains("networks that had many"), "{refused}");
        // Others, and each of them as much as is few.
        for block in 2..8 {
            counter.take(at(block, 1), 20, today).expect("few");
            counter.take(at(block, 2), 5, today).expect("few");
            counter.take(at(block, 2), 1, today).expect_err("many");
        }
        counter.take(at(9, 1), 1, today).expect_err("all is taken");
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let v6 = |last| IpAddr::from([0x2001, 0xdb8, 1, 2, 3, 4, 5, last]);
        assert_eq!(network(v6(1)), network(v6(2)));
        let other = IpAddr::from([0x2001, 0xdb8, 2, 2, 3, 4, 5, 1]);
        assert_ne!(network(v6(1)), network(other));
        let v4 = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(network("::ffff:10.0.0.1".parse().expect("one")), v4);
    }
}
