//! Paths as honest holders make them, and what happens when they are tampered with.

use proptest::prelude::*;

use super::*;
use crate::coin::certificate::CoinCertificate;
use crate::coin::{CertificateError, Chain, PseudonymCertificate, PublicKey, SecretKey, Seed};
use crate::units::{Day, Units};

const BROKER: [u8; 32] = [0xb0; 32];

fn accepts(key: &PublicKey) -> bool {
    *key == SecretKey::from_bytes(BROKER).public()
}

/// A coin of `value` units, then one link for each step: (units closed, whether the payee goes on).
fn honest_path(value: u64, steps: &[(u32, bool)]) -> Path {
    let broker = SecretKey::from_bytes(BROKER);
    let wallet = |n: usize| Seed::from_entropy([n as u8; 32]);
    let (mut seed, mut holder) = (wallet(1), wallet(1).holder_key(0));
    let coin = CoinCertificate::issue(
        &broker,
        Units(value),
        holder.public(),
        Day(100),
        Day(130),
        [7; 16],
    );
    let mut path = Path {
        coin,
        links: Vec::new(),
    };
    for (n, (k, payee_goes_on)) in steps.iter().enumerate() {
        let holding = path.holding().expect("the steps fit the coin");
        let payee = wallet(n + 2).holder_key(0);
        let certificate = PseudonymCertificate::issue(&broker, payee.public(), Day(1));
        let chain = Chain::new(seed.chain_tip(&holding.id), holding.value.0 as u32);
        let key = seed.record_key(&holding.id);
        let spend = OpenSpend::sign(&holder, &holding.id, certificate, chain.anchor(), key);
        let wk = chain.reveal(*k).expect("k is within the holding");
        let close = ClosePart::sign(&payee, &holding.id, &spend, *k, wk);
        assert_eq!(spend.verify(&holding), Ok(()));
        assert_eq!(close.verify(&holding, &spend), Ok(()));
        let role = if *payee_goes_on {
            (seed, holder) = (wallet(n + 2), payee);
            Role::PayeeShare
        } else {
            Role::Change
        };
        path = path.extend(Link { role, spend, close });
    }
    path
}

/// Steps that fit a coin of `value` units.
fn steps(value: u64) -> impl Strategy<Value = Vec<(u32, bool)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..=8).prop_map(
        move |choices| {
            let mut left = value;
            let mut steps = Vec::new();
            for (index, payee_goes_on) in choices {
                // The part that goes on must be worth at least one unit.
                let k = index.index(left as usize) as u64 + u64::from(payee_goes_on);
                left = if payee_goes_on { k } else { left - k };
                steps.push((k as u32, payee_goes_on));
            }
            steps
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_honest_path_proves_its_holding_and_no_split_makes_or_loses_a_unit(steps in steps(64)) {
        let path = honest_path(64, &steps);
        let holding = path.verify(&accepts, Some((Day(128), 1))).expect("an honest path");
        prop_assert_eq!(path.holding(), Ok(holding));
        prop_assert_eq!(holding.coin, path.coin.id());
        let all = path.holdings().expect("values that fit");
        for (pair, link) in all.windows(2).zip(&path.links) {
            let (parent, part) = (pair[0], pair[1]);
            let other = Link { role: match link.role {
                Role::Change => Role::PayeeShare,
                Role::PayeeShare => Role::Change,
            }, ..*link };
            let rest = other.next(&parent).map_or(Units::ZERO, |other| other.value);
            prop_assert_eq!(part.value.checked_add(rest), Some(parent.value));
        }
        prop_assert!(path.records().iter().all(SignedRecord::verify));
    }

    #[test]
    fn any_byte_changed_in_an_honest_path_is_found(
        steps in steps(64),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let path = honest_path(64, &steps);
        let honest = path.holding().expect("values that fit");
        let mut bytes = path.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let changed = Path::decode_verified(&bytes, MAX_LINKS_REDEEM, &accepts, None);
        // The role of the last link is not signed: it says which of two parts is meant.
        let last_role = path.links.len().checked_sub(1).map(|n| 159 + n * Link::SIZE);
        if let Ok((_, holding)) = changed {
            prop_assert_eq!(Some(at), last_role);
            prop_assert_ne!(holding.id, honest.id);
        }
    }

    #[test]
    fn a_cache_changes_no_answer(
        first in steps(64),
        second in steps(64),
        limit in 0usize..6,
        day in 125u32..132,
        bad in any::<Option<prop::sample::Index>>(),
    ) {
        let mut cache = PathCache::new(limit);
        let mut paths = vec![honest_path(64, &first), honest_path(64, &second)];
        if let (Some(index), [path, ..]) = (bad, paths.as_mut_slice()) && !path.links.is_empty() {
            let n = index.index(path.links.len());
            path.links[n].close.signatures.swap(0, 1);
        }
        for path in paths.iter().chain(&paths) {
            let today = Some((Day(day), 1));
            let cached = path.verify_cached(&accepts, today, &mut cache);
            prop_assert_eq!(cached, path.verify(&accepts, today));
            prop_assert!(cache.len() <= limit);
        }
    }
}

#[test]
fn a_cached_path_is_refused_once_its_broker_or_date_is() {
    let path = honest_path(64, &[(10, true)]);
    let mut cache = PathCache::new(8);
    let today = |day| Some((Day(day), 1));
    assert!(path.verify_cached(&accepts, today(128), &mut cache).is_ok());
    assert_eq!(cache.len(), 2);
    assert!(matches!(
        path.verify_cached(&accepts, today(129), &mut cache),
        Err(PathError::Coin(CertificateError::Expired { .. }))
    ));
    assert!(matches!(
        path.verify_cached(&|_| false, today(128), &mut cache),
        Err(PathError::Coin(CertificateError::BrokerNotAccepted(_)))
    ));
}

#[test]
fn a_path_of_eight_links_is_redeemed_and_not_proposed() {
    let bytes = honest_path(64, &[(1, false); 8]).encode();
    assert!(Path::decode(&bytes, MAX_LINKS_REDEEM).is_ok());
    let refused = PathError::TooManyLinks { links: 8, max: 7 };
    assert_eq!(Path::decode(&bytes, MAX_LINKS_PROPOSE), Err(refused));
    let longer = honest_path(64, &[(1, false); 9]);
    assert!(Path::decode(&longer.encode(), 100).is_err());
    assert!(longer.verify(&accepts, None).is_err());
}

#[test]
fn the_coin_is_named_before_a_malformed_link() {
    let mut bytes = honest_path(64, &[(1, false); 2]).encode();
    bytes[159 + Link::SIZE] = 9;
    let verified = Path::decode_verified(&bytes, 8, &accepts, None).map(|_| ());
    let role = PathError::Link {
        index: 1,
        fault: LinkFault::Role(9),
    };
    assert_eq!(verified, Err(role));
    let verified = Path::decode_verified(&bytes, 8, &|_| false, None).map(|_| ());
    assert!(matches!(verified, Err(PathError::Coin(_))));
}

#[test]
fn a_redeem_and_a_spend_of_one_holding_prove_a_double_spend() {
    let path = honest_path(64, &[(0, false)]);
    let coin = Holding::of_coin(&path.coin);
    let seed = Seed::from_entropy([1; 32]);
    let holder = seed.holder_key(0);
    let account = seed.account_key().public();
    let redeem = RedeemPart::sign(&holder, &coin.id, account, seed.record_key(&coin.id));
    assert!(redeem.verify(&coin));
    let certificate = ProofCertificate::Coin(path.coin);
    let [spend, _] = path.links[0].records(&coin);
    for (ours, other) in redeem.record(&coin).items().into_iter().zip(spend.items()) {
        let mut reading = PlaceReading::default();
        reading.count_item(&ours, other.clone());
        assert_eq!(reading.others, vec![other.clone()]);
        let proof = FraudProof::new(certificate, ours, other).expect("two items");
        assert_eq!(proof.verify(&accepts), Ok(holder.public()));
    }
}

#[test]
fn signatures_of_one_statement_are_one_close_whatever_their_bytes() {
    let path = honest_path(64, &[(5, true)]);
    let coin = Holding::of_coin(&path.coin);
    let link = path.links[0];
    let [first, ..] = link.close.record(&coin.id, &link.spend).items();
    // S + L: another signature of the same message, which nodes store and strict checks refuse.
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let mut carry = 0u16;
    let mut second = first.clone();
    for (byte, add) in second.signature.0[32..]
        .iter_mut()
        .zip(hex::decode(order).expect("hex"))
    {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert!(second.is_signed() && !second.is_strict());
    let certificate = ProofCertificate::Payee(link.spend.payee_certificate);
    let proof = FraudProof::new(certificate, first.clone(), second.clone());
    assert_eq!(proof, Err(ProofError::SameItem));
    assert!(first.is_copy_of(&second));
    assert_eq!(coin.id.payee_share(), path.holding().expect("fits").id);
}
